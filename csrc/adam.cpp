// A step of Adam on weights that lie in one piece: the norm of their gradient, its clipping, the update and the moving
// average of the weights, while a chunk of all of them is in the cache.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "parallel.hpp"
#include "vector.hpp"

namespace bijecta {

struct Adam {
    int64_t count, threads;
    int64_t decoupled;  // whether the weight decay is AdamW's
    double rate, beta1, beta2, epsilon, weight_decay;
    double largest;  // norm of the gradient
    double keep;     // how much of the average stays
    float* steps;    // taken so far
};

template <class T> struct Weights {
    T *value, *gradient, *first, *second, *average;  // first and second moments; no average: null
};

constexpr int64_t chunk_weights = 1 << 14;

// The sum over each chunk is the same whichever thread computes it, and so is their sum.
template <class T> double norm_of(const T* gradient, int64_t count, int threads) {
    constexpr int L = Vector<T>::lanes;
    std::vector<double> squares((count + chunk_weights - 1) / chunk_weights);
    parallel_for(count, chunk_weights, threads, [&](int64_t begin, int64_t end) {
        Vec<T> sums[4] = {};
        for (int64_t i = begin; i < end; i += L) {
            const Vec<T> g = load(gradient + i, end - i < L ? int(end - i) : L);
            sums[i / L % 4] += g * g;
        }
        const Vec<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        for (int l = 0; l < L; ++l) squares[begin / chunk_weights] += sum[l];
    });
    double total = 0;
    for (const double square : squares) total += square;
    return std::sqrt(total);
}

// Subnormal numbers, to which the moments of a unit that is always off decay, would take a hundred times as long.
template <class T> BIJECTA_INLINE T normal_or_zero(T v) { return std::abs(v) < std::numeric_limits<T>::min() ? T(0) : v; }

template <class T> struct Rates {
    T clip, pull, shrink, beta1, rest1, beta2, rest2, rate, epsilon;
};

template <class T>
void update(const Rates<T> by, int64_t count, T* __restrict w, const T* __restrict gradient, T* __restrict first, T* __restrict second) {
    for (int64_t i = 0; i < count; ++i) {
        const T g = by.clip * gradient[i] + by.pull * w[i];
        const T m = normal_or_zero(by.beta1 * first[i] + by.rest1 * g), v = normal_or_zero(by.beta2 * second[i] + by.rest2 * g * g);
        w[i] = by.shrink * w[i] - by.rate * m / (std::sqrt(v) + by.epsilon);
        first[i] = m, second[i] = v;
    }
}

template <class T> void follow(T by, int64_t count, const T* __restrict w, T* __restrict average) {
    for (int64_t i = 0; i < count; ++i) average[i] += by * (w[i] - average[i]);
}

template <class T> double take_step(const Adam& adam, const Weights<T>& all) {
    const double norm = norm_of(all.gradient, adam.count, int(adam.threads));
    if (!std::isfinite(norm)) return norm;
    const double steps = *adam.steps += 1, spread = std::sqrt(1 - std::pow(adam.beta2, steps));
    Rates<T> by;
    by.clip = T(std::min(1.0, adam.largest / (norm + 1e-6)));
    by.pull = T(adam.decoupled ? 0 : adam.weight_decay), by.shrink = T(adam.decoupled ? 1 - adam.rate * adam.weight_decay : 1);
    by.beta1 = T(adam.beta1), by.rest1 = T(1 - adam.beta1), by.beta2 = T(adam.beta2), by.rest2 = T(1 - adam.beta2);
    by.rate = T(adam.rate * spread / (1 - std::pow(adam.beta1, steps))), by.epsilon = T(adam.epsilon * spread);
    parallel_for(adam.count, chunk_weights, int(adam.threads), [&](int64_t begin, int64_t end) {
        T* w = all.value + begin;
        update(by, end - begin, w, all.gradient + begin, all.first + begin, all.second + begin);
        if (all.average) follow(T(1 - adam.keep), end - begin, w, all.average + begin);
    });
    return norm;
}

}  // namespace bijecta

#define BIJECTA_ADAM(T)                                                                                                \
    extern "C" __attribute__((visibility("default"))) double adam_##T(const bijecta::Adam* adam, T* value,            \
                                                                      T* gradient, T* first, T* second, T* average) { \
        return bijecta::take_step<T>(*adam, {value, gradient, first, second, average});                               \
    }

BIJECTA_ADAM(float)
BIJECTA_ADAM(double)
