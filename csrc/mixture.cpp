// Maps by mixtures for many elements, each with its own row of parameters, or many with the same one.

#include "mixture.hpp"

#include <atomic>

#include "parallel.hpp"

namespace bijecta::mixtures {

// Elements first, first + stride, ...; of one row of parameters if it is shared, else of as many rows as elements.
struct Batch {
    int64_t first, stride, count, row;
    bool shared;
};

// Calls work(batch, number of the batch). Those with shared parameters are numbered part by part, row by row in each.
template <class Work> void for_batches(const Mixture& m, const Work& work) {
    const bool shared = m.rows < m.count;
    const int64_t rows = shared ? m.rows : 1, each = m.count / rows;
    const int64_t parts = (each + m.batch - 1) / m.batch;
    parallel_for(rows * parts, 1, m.threads, [&](int64_t begin, int64_t) {
        const int64_t row = begin % rows, start = begin / rows * m.batch;
        const int64_t count = each - start < m.batch ? each - start : m.batch;
        work(Batch{row + rows * start, rows, count, shared ? row : start, shared}, begin);
    });
}

template <class T> BIJECTA_INLINE Vec<T> gather(const T* from, const Batch& batch, int64_t k, int lanes) {
    if (!from) return Vec<T>{};
    from += batch.first + k * batch.stride;
    if (batch.stride == 1) return load(from, lanes);
    Vec<T> v{};
    for (int l = 0; l < lanes; ++l) v[l] = from[l * batch.stride];
    return v;
}

template <class T> BIJECTA_INLINE void scatter(T* to, const Batch& batch, int64_t k, Vec<T> v, int lanes) {
    to += batch.first + k * batch.stride;
    if (batch.stride == 1) return store(to, v, lanes);
    for (int l = 0; l < lanes; ++l) to[l * batch.stride] = v[l];
}

// Calls work(first element in the batch, lanes) with the parameters of these elements prepared.
template <class T, class Kind, class Work>
void for_vectors(Curve<T, Kind>& curve, const T* params, const Batch& batch, const Work& work) {
    constexpr int L = Vector<T>::lanes;
    params += batch.row * curve.parameters;
    if (batch.shared) {
        for (int p = 0; p < curve.parameters; ++p) curve.tile[p] = splat<T>(params[p]);
        curve.prepare();
    }
    for (int64_t k = 0; k < batch.count; k += L) {
        const int lanes = batch.count - k < L ? int(batch.count - k) : L;
        if (!batch.shared) {
            load_tile<T>(params + k * curve.parameters, lanes, curve.parameters, curve.tile);
            curve.prepare();
        }
        work(k, lanes);
    }
}

// Returns how many elements have no inverse within the range of numbers.
template <class T, class Kind> int64_t map(const Mixture& m, const T* x, const T* params, T* y, T* ladj) {
    const T infinity = std::numeric_limits<T>::infinity();
    std::atomic<int64_t> failures{0};
    for_batches(m, [&](const Batch& batch, int64_t) {
        Curve<T, Kind> curve(m);
        int64_t failed = 0;
        for_vectors<T>(curve, params, batch, [&](int64_t k, int lanes) {
            const Vec<T> input = gather(x, batch, k, lanes);
            const Vec<T> place = m.inverse ? curve.solve(input) : input;
            const Point<T> point = curve.at(place);
            const Vec<T> log_slope = log<T>(point.slope);
            scatter(y, batch, k, m.inverse ? place : point.y, lanes);
            scatter(ladj, batch, k, m.inverse ? -log_slope : log_slope, lanes);
            const auto lost = (absolute<T>(place) == infinity) & (absolute<T>(input) < infinity);
            if (any(lost)) {
                for (int l = 0; l < lanes; ++l) failed += lost[l] != 0;
            }
        });
        failures += failed;
    });
    return failures;
}

template <class T> struct Upstream {
    const T *y, *ladj;
};

// x is the input of the forward map, also of the inverse. The gradients of shared parameters are one row per batch.
template <class T, class Kind, bool inverse>
void differentiate_all(const Mixture& m, const T* x, const T* params, Upstream<T> from, T* g_x, T* g_params) {
    for_batches(m, [&](const Batch& batch, int64_t number) {
        Curve<T, Kind> curve(m);
        std::vector<Vec<T>> g(size_t(curve.parameters));
        for_vectors<T>(curve, params, batch, [&](int64_t k, int lanes) {
            if (!batch.shared) std::fill(g.begin(), g.end(), Vec<T>{});
            const Vec<T> g_y = gather(from.y, batch, k, lanes), g_ladj = gather(from.ladj, batch, k, lanes);
            const Vec<T> input = gather(x, batch, k, lanes);
            scatter(g_x, batch, k, curve.template differentiate<inverse>(input, g_y, g_ladj, g.data()), lanes);
            if (batch.shared) return;
            curve.to_parameters(g.data());
            store_tile<T>(g_params + (batch.row + k) * curve.parameters, lanes, curve.parameters, g.data());
        });
        if (!batch.shared) return;
        curve.to_parameters(g.data());
        for (int p = 0; p < curve.parameters; ++p) {
            T sum = 0;
            for (int l = 0; l < Vector<T>::lanes; ++l) sum += g[size_t(p)][l];
            g_params[number * curve.parameters + p] = sum;
        }
    });
}

template <class T> int64_t map_any(const Mixture& m, const T* x, const T* params, T* y, T* ladj) {
    return m.logistic ? map<T, Logistic<T>>(m, x, params, y, ladj) : map<T, Normal<T>>(m, x, params, y, ladj);
}

template <class T> void differentiate_any(const Mixture& m, const T* x, const T* params, Upstream<T> from, T* g_x, T* g_params) {
    const auto directed = [&](auto inverse) {
        if (m.logistic) differentiate_all<T, Logistic<T>, inverse>(m, x, params, from, g_x, g_params);
        else differentiate_all<T, Normal<T>, inverse>(m, x, params, from, g_x, g_params);
    };
    if (m.inverse) directed(std::true_type{});
    else directed(std::false_type{});
}

}  // namespace bijecta::mixtures

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

#define BIJECTA_MIXTURE(T)                                                                                             \
    BIJECTA_EXPORT int64_t mixture_##T(const bijecta::mixtures::Mixture* mixture, const T* x, const T* params, T* y,   \
                                       T* ladj) {                                                                      \
        return bijecta::mixtures::map_any<T>(*mixture, x, params, y, ladj);                                            \
    }                                                                                                                  \
    BIJECTA_EXPORT void mixture_gradient_##T(const bijecta::mixtures::Mixture* mixture, const T* x, const T* params,   \
                                             const T* g_y, const T* g_ladj, T* g_x, T* g_params) {                     \
        bijecta::mixtures::differentiate_any<T>(*mixture, x, params, {g_y, g_ladj}, g_x, g_params);                    \
    }

BIJECTA_MIXTURE(float)
BIJECTA_MIXTURE(double)
