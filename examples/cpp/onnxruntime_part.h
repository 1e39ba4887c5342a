// The part of the C interface of onnxruntime that sample_events.cpp uses, for machines without <onnxruntime_c_api.h>,
// as where onnxruntime was installed by pip. The library promises that the functions keep their places in its table; the
// number in every name `skipped_N` is the place of the first function that is left out. Use the real header if you can.
#pragma once

#include <cstddef>
#include <cstdint>

#define ORT_API_VERSION 2  // the version that brought the last of these functions

struct OrtEnv;
struct OrtStatus;
struct OrtMemoryInfo;
struct OrtSession;
struct OrtSessionOptions;
struct OrtValue;
struct OrtRunOptions;
struct OrtTensorTypeAndShapeInfo;
struct OrtModelMetadata;
struct OrtAllocator;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE = 11 };

struct OrtApi {
    void* skipped_0[2];
    const char* (*GetErrorMessage)(const OrtStatus*);
    OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);
    void* skipped_4[3];
    OrtStatus* (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);
    void* skipped_8;
    OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs,
                      size_t n_inputs, const char* const* output_names, size_t n_outputs, OrtValue** outputs);
    OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
    void* skipped_11[38];
    OrtStatus* (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* shape,
                                                 size_t dimensions, ONNXTensorElementDataType, OrtValue**);
    void* skipped_50;
    OrtStatus* (*GetTensorMutableData)(OrtValue*, void** data);
    void* skipped_52[12];
    OrtStatus* (*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo*, size_t*);
    OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
    void* skipped_66[3];
    OrtStatus* (*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo**);
    void* skipped_70[8];
    OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator**);
    void* skipped_79[32];
    OrtStatus* (*SessionGetModelMetadata)(const OrtSession*, OrtModelMetadata**);
    void* skipped_112[4];
    OrtStatus* (*ModelMetadataLookupCustomMetadataMap)(const OrtModelMetadata*, OrtAllocator*, const char* key,
                                                       char** value);
};
static_assert(offsetof(OrtApi, ModelMetadataLookupCustomMetadataMap) == 116 * sizeof(void*), "a miscounted table");

struct OrtApiBase {
    const OrtApi* (*GetApi)(uint32_t version);
    const char* (*GetVersionString)();
};

extern "C" const OrtApiBase* OrtGetApiBase(void);
