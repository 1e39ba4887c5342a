// Draw collision events from a file that bijecta exported, with nothing but onnxruntime. See README.md beside this file.
//     sample_events events.onnx momenta.txt 1000:42 91.2     1000 events, seed 42, at 91.2 GeV
//     sample_events events.onnx momenta.txt latents.txt 91.2 one event for each line of latents
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
#if __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#else
#include "onnxruntime_part.h"
#endif

static const OrtApi* ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
static void check(OrtStatus* status) { if (status) throw std::runtime_error(ort->GetErrorMessage(status)); }

// What the file says about itself: lines of words.
static std::vector<std::string> property(OrtSession* session, const char* name) {
    OrtModelMetadata* metadata; OrtAllocator* allocator; char* text;
    check(ort->SessionGetModelMetadata(session, &metadata));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->ModelMetadataLookupCustomMetadataMap(metadata, allocator, name, &text));
    if (!text) throw std::runtime_error(std::string("not a file of events: it has no property ") + name);
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

// Draw a latent as the file wants it: its line is "uniform low high column" or "normal mean deviation column".
static double draw(const std::string& column, std::mt19937_64& random) {
    std::istringstream words(column);
    std::string kind; double first, second;
    words >> kind >> first >> second;
    if (kind == "normal") return std::normal_distribution<double>(first, second)(random);
    return std::uniform_real_distribution<double>(first, second)(random);
}

static OrtValue* matrix(OrtMemoryInfo* memory, std::vector<double>& values, size_t columns) {
    OrtValue* tensor;
    const int64_t shape[] = {int64_t(values.size() / columns), int64_t(columns)};
    check(ort->CreateTensorWithDataAsOrtValue(memory, values.data(), values.size() * sizeof(double), shape, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, &tensor));
    return tensor;
}

static void run(const std::vector<std::string>& words) {
    OrtEnv* environment; OrtSessionOptions* options; OrtSession* session; OrtMemoryInfo* memory;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "sample_events", &environment));
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(environment, words[0].c_str(), options, &session));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    const auto columns = property(session, "latent"), conditions = property(session, "conditions");
    std::vector<double> given, z, condition;
    if (words.size() != 3 + conditions.size()) throw std::runtime_error("wrong number of conditions");
    for (size_t k = 0; k < conditions.size(); ++k) {
        double low, high;  // of the training
        given.push_back(std::stod(words[3 + k]));
        std::sscanf(conditions[k].c_str(), "%lf %lf", &low, &high);  // reads inf, too
        if (given[k] < low || given[k] > high) std::fprintf(stderr, "outside the training: %s\n", conditions[k].c_str());
    }
    const size_t colon = words[2].find(':');
    if (colon != std::string::npos) {
        std::mt19937_64 random(std::stoull(words[2].substr(colon + 1)));
        z.resize(std::stoul(words[2]) * columns.size());
        for (size_t k = 0; k < z.size(); ++k) z[k] = draw(columns[k % columns.size()], random);
    } else {
        std::ifstream file(words[2]);
        for (double value; file >> value;) z.push_back(value);
    }
    const size_t rows = z.size() / columns.size();
    if (z.empty() || z.size() % columns.size()) throw std::runtime_error("no latents, or not whole rows of them");
    for (size_t row = 0; row < rows; ++row) condition.insert(condition.end(), given.begin(), given.end());
    const char *inputs[] = {"z", "condition"}, *outputs[] = {"momenta"};
    const OrtValue* values[] = {matrix(memory, z, columns.size()), nullptr};
    if (!given.empty()) values[1] = matrix(memory, condition, given.size());
    OrtValue* momenta = nullptr; OrtTensorTypeAndShapeInfo* shape; double* p; size_t count;
    check(ort->Run(session, nullptr, inputs, values, given.empty() ? 1 : 2, outputs, 1, &momenta));
    check(ort->GetTensorMutableData(momenta, reinterpret_cast<void**>(&p)));
    check(ort->GetTensorTypeAndShape(momenta, &shape));
    check(ort->GetTensorShapeElementCount(shape, &count));
    std::FILE* out = std::fopen(words[1].c_str(), "w");  // a line per event: E px py pz of one particle after the other
    if (!out) throw std::runtime_error("cannot write " + words[1]);
    for (size_t k = 0; k < count; ++k) std::fprintf(out, "%.17g%c", p[k], (k + 1) % (count / rows) ? ' ' : '\n');
    std::fclose(out);
}

int main(int n, char** words) {
    try {
        if (n < 4) throw std::runtime_error("usage: sample_events MODEL OUT ROWS:SEED|LATENTS [CONDITION...]");
        run({words + 1, words + n});
    } catch (const std::exception& error) {
        return std::fprintf(stderr, "sample_events: %s\n", error.what()), 1;
    }
}
