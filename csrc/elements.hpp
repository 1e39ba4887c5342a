// A spline of many elements, each with its own row of parameters, as a function for Python.

#pragma once

#include "knots.hpp"
#include "parallel.hpp"

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

// NAME_T and NAME_gradient_T by a class template KERNEL<T, K>; the last arguments are the usual numbers of bins, for which
// K is a constant and loops unroll. It is 0 for all others.
#define BIJECTA_SPLINE(NAME, KERNEL, T, ...)                                                                           \
    BIJECTA_EXPORT void NAME##_##T(const bijecta::Spline* spline, const T* x, const T* params, T* y, T* ladj) {        \
        bijecta::map_all<bijecta::KERNEL, T, __VA_ARGS__>(*spline, x, params, y, ladj);                                \
    }                                                                                                                  \
    BIJECTA_EXPORT void NAME##_gradient_##T(const bijecta::Spline* spline, const T* x, const T* params, const T* g_y,  \
                                            const T* g_ladj, T* g_x, T* g_params) {                                    \
        bijecta::differentiate_all<bijecta::KERNEL, T, __VA_ARGS__>(*spline, x, params, {g_y, g_ladj, g_x, g_params}); \
    }

namespace bijecta {

template <class Kernel, class T, bool inverse>
void map_chunk(const Spline& spline, const T* x, const T* params, T* y, T* ladj, int64_t begin, int64_t end) {
    constexpr int L = Vector<T>::lanes;
    Kernel kernel{Settings<T>(spline)};
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

template <class Kernel, class T, bool inverse>
void differentiate_chunk(const Spline& spline, const T* x, const T* params, Gradients<T> to, int64_t begin, int64_t end) {
    constexpr int L = Vector<T>::lanes;
    Kernel kernel{Settings<T>(spline)};
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

template <template <class, int> class Kernel, class T, int... usual>
void map_all(const Spline& spline, const T* x, const T* params, T* y, T* ladj) {
    with_constants<usual...>(spline, [&](auto bins, auto inverse) {
        parallel_for(spline.count, chunk_elements, spline.threads, [&](int64_t begin, int64_t end) {
            map_chunk<Kernel<T, decltype(bins)::value>, T, decltype(inverse)::value>(spline, x, params, y, ladj, begin, end);
        });
    });
}

template <template <class, int> class Kernel, class T, int... usual>
void differentiate_all(const Spline& spline, const T* x, const T* params, Gradients<T> to) {
    with_constants<usual...>(spline, [&](auto bins, auto inverse) {
        parallel_for(spline.count, chunk_elements, spline.threads, [&](int64_t begin, int64_t end) {
            differentiate_chunk<Kernel<T, decltype(bins)::value>, T, decltype(inverse)::value>(spline, x, params, to, begin, end);
        });
    });
}

}  // namespace bijecta
