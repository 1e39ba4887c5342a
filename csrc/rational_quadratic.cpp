// The rational-quadratic spline of many elements, each with its own row of parameters.

#include "parallel.hpp"
#include "spline.hpp"

namespace bijecta {

template <class T, int K, bool inverse> void map_chunk(const Spline& spline, const T* x, const T* params, T* y, T* ladj,
                                                       int64_t begin, int64_t end) {
    constexpr int L = Vector<T>::lanes;
    Kernel<T, K> kernel{Settings<T>(spline)};
    Columns<T> columns(spline);
    for (int64_t i = begin; i < end; i += L) {
        const int rows = end - i < L ? int(end - i) : L, parameters = kernel.parameters();
        columns.move_to(i);
        load_tile<T>(params + i * parameters, rows, parameters, kernel.tile.get());
        const Image<T> image = map_vector<inverse>(kernel, columns, load(x + i, rows));
        store(y + i, image.y, rows);
        store(ladj + i, image.ladj, rows);
    }
}

// A missing gradient is zero.
template <class T> BIJECTA_INLINE Vec<T> load_gradient(const T* from, int64_t i, int rows) {
    return from ? load(from + i, rows) : Vec<T>{};
}

template <class T> struct Gradients {
    const T *y, *ladj;
    T *x, *params;
};

template <class T, int K, bool inverse>
void differentiate_chunk(const Spline& spline, const T* x, const T* params, Gradients<T> to, int64_t begin, int64_t end) {
    constexpr int L = Vector<T>::lanes;
    Kernel<T, K> kernel{Settings<T>(spline)};
    Columns<T> columns(spline);
    for (int64_t i = begin; i < end; i += L) {
        const int rows = end - i < L ? int(end - i) : L, parameters = kernel.parameters();
        columns.move_to(i);
        load_tile<T>(params + i * parameters, rows, parameters, kernel.tile.get());
        const Vec<T> g_y = load_gradient(to.y, i, rows), g_ladj = load_gradient(to.ladj, i, rows);
        store(to.x + i, differentiate_vector<inverse>(kernel, columns, load(x + i, rows), g_y, g_ladj), rows);
        store_tile<T>(to.params + i * parameters, rows, parameters, kernel.tile.get());
    }
}

constexpr int64_t chunk_elements = 1024;

template <class T> void map(const Spline& spline, const T* x, const T* params, T* y, T* ladj) {
    with_constants(spline, [&](auto bins, auto inverse) {
        parallel_for(spline.count, chunk_elements, spline.threads, [&](int64_t begin, int64_t end) {
            map_chunk<T, decltype(bins)::value, decltype(inverse)::value>(spline, x, params, y, ladj, begin, end);
        });
    });
}

template <class T> void differentiate_all(const Spline& spline, const T* x, const T* params, Gradients<T> to) {
    with_constants(spline, [&](auto bins, auto inverse) {
        parallel_for(spline.count, chunk_elements, spline.threads, [&](int64_t begin, int64_t end) {
            differentiate_chunk<T, decltype(bins)::value, decltype(inverse)::value>(spline, x, params, to, begin, end);
        });
    });
}

}  // namespace bijecta

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

#define BIJECTA_SPLINE(T)                                                                                              \
    BIJECTA_EXPORT void rational_quadratic_##T(const bijecta::Spline* spline, const T* x, const T* params, T* y,       \
                                               T* ladj) {                                                              \
        bijecta::map<T>(*spline, x, params, y, ladj);                                                                  \
    }                                                                                                                  \
    BIJECTA_EXPORT void rational_quadratic_gradient_##T(const bijecta::Spline* spline, const T* x, const T* params,    \
                                                        const T* g_y, const T* g_ladj, T* g_x, T* g_params) {          \
        bijecta::differentiate_all<T>(*spline, x, params, {g_y, g_ladj, g_x, g_params});                               \
    }

BIJECTA_SPLINE(float)
BIJECTA_SPLINE(double)

BIJECTA_EXPORT int bijecta_interface() { return 5; }  // raised with every change of the functions above
#if defined(__clang__)
BIJECTA_EXPORT const char* bijecta_build() { return BIJECTA_INSTRUCTIONS ", built with clang " __clang_version__; }
#else
BIJECTA_EXPORT const char* bijecta_build() { return BIJECTA_INSTRUCTIONS ", built with g++ " __VERSION__; }
#endif
