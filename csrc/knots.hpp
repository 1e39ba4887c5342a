// What all splines share: a call's settings, knots by a softmax with a floor, and the identity outside of the domain.
//
// Each lane of a vector is one element. With C_j the sum of the first j of E = exp(logits - max) and S the sum of all,
//     x_j = -1 + 2 (m j + c C_j / S),  c = 1 - m K,  x_K = 1,
// on the unit domain [-1, 1]; y_j likewise. A kernel is a class with
//     parameters()               how many there are for each element
//     tile                       one vector for each of them
//     point<inverse>(...)        where an element goes, and the slope of the map there
//     pull_back<inverse>(...)    the gradient of the element; those of the parameters take their place in the tile.

#pragma once

#include <cmath>
#include <memory>

#include "elementary.hpp"
#include "vector.hpp"

namespace bijecta {

// What a call is about; Python fills the same structure with ctypes.
struct Spline {
    int64_t count;             // elements
    int64_t bins;              // K
    int64_t columns;           // element i has the settings of column i % columns
    const void* bounds;        // one per column, of the elements' type; null: `bound` for all
    const uint8_t* circulars;  // one per column; null: `circular` for all
    double bound, min_bin, min_slope;
    int32_t circular;
    int32_t boundary_logit;    // rational-quadratic: the first slope logit is that of the boundary, 3K parameters
    int32_t inverse;
    int32_t threads;
};

// torch.remainder, and the corrections of `wrap`: into [-bound, bound). A cold path: most numbers are inside already.
template <class T> T wrap(T x, T bound) {
    if (x >= -bound && x < bound) return x;
    const T period = 2 * bound;
    const T rest = std::fmod(x + bound, period);
    const T wrapped = -bound + (rest < 0 ? rest + period : rest);
    return wrapped >= bound ? wrapped - period : wrapped;
}

// Bound and periodicity of each lane.
template <class T> struct Columns {
    using Word = typename Vector<T>::Word;
    static constexpr int L = Vector<T>::lanes;

    const Spline& spline;
    Vec<T> bound;
    Words<T> circular;  // all bits set or none
    bool any_circular;

    explicit Columns(const Spline& s) : spline(s) { read(0); }

    void move_to(int64_t first) {
        if (spline.bounds || spline.circulars) read(first % spline.columns);
    }

    void read(int64_t column) {
        T bounds[L];
        Word masks[L];
        any_circular = false;
        for (int l = 0; l < L; ++l) {
            bounds[l] = spline.bounds ? static_cast<const T*>(spline.bounds)[column] : T(spline.bound);
            const bool periodic = spline.circulars ? spline.circulars[column] : spline.circular;
            masks[l] = periodic ? ~Word(0) : Word(0);
            any_circular |= periodic;
            column = column + 1 == spline.columns ? 0 : column + 1;
        }
        std::memcpy(&bound, bounds, sizeof bound);
        std::memcpy(&circular, masks, sizeof circular);
    }

    // All lanes are elements of one column.
    void spread(int64_t column) {
        bound = splat<T>(spline.bounds ? static_cast<const T*>(spline.bounds)[column] : T(spline.bound));
        any_circular = spline.circulars ? spline.circulars[column] : spline.circular;
        circular = Words<T>{} - Word(any_circular);
    }

    Vec<T> wrapped(Vec<T> x) const {
        if (!any_circular) return x;
        for (int l = 0; l < L; ++l) x[l] = circular[l] ? wrap<T>(x[l], bound[l]) : x[l];
        return x;
    }
};

// Numbers brought to the unit domain, clamped before any arithmetic; NaN is inside and stays NaN.
template <class T> BIJECTA_INLINE Vec<T> to_unit(Vec<T> x, Vec<T> bound) {
    const Vec<T> unit = x / bound;
    return unit > T(1) ? splat<T>(1) : (unit < T(-1) ? splat<T>(-1) : unit);
}

// Constants of one call.
template <class T> struct Settings {
    int bins;
    T min_bin, rest, min_slope, slope_limit;
    bool boundary_logit;

    explicit Settings(const Spline& s)
        : bins(int(s.bins)), min_bin(T(s.min_bin)), rest(T(1 - s.min_bin * double(bins))), min_slope(T(s.min_slope)),
          slope_limit(T(-std::log(s.min_slope))), boundary_logit(s.boundary_logit) {}
};

// exp(logits - max) in place; returns 1 / sum.
template <class T> BIJECTA_INLINE Vec<T> exponentials(Vec<T>* logits, int bins) {
    Vec<T> largest = logits[0], sum{};
    for (int j = 1; j < bins; ++j) largest = logits[j] > largest ? logits[j] : largest;
    for (int j = 0; j < bins; ++j) {
        logits[j] = exp<T>(logits[j] - largest);
        sum += logits[j];
    }
    return T(1) / sum;
}

// On the unit domain: where an element goes, and the slope of the forward map there.
template <class T> struct Point {
    Vec<T> image, slope;
};

// The map of one vector of elements whose parameters are in the kernel's tile.
template <class T> struct Image {
    Vec<T> y, ladj;
};

template <bool inverse, class T, class Kernel>
BIJECTA_INLINE Image<T> map_vector(Kernel& kernel, const Columns<T>& columns, Vec<T> x) {
    const Vec<T> input = columns.wrapped(x), q = to_unit<T>(input, columns.bound);
    const auto outside = absolute<T>(input) > columns.bound;
    const Point<T> point = kernel.template point<inverse>(q, columns.circular);
    const Vec<T> image = columns.bound * point.image, log_slope = log<T>(point.slope);
    return {columns.wrapped(outside ? input : image), outside ? Vec<T>{} : (inverse ? -log_slope : log_slope)};
}

// The gradient of the elements; that of their parameters takes the place of the parameters in the tile.
template <bool inverse, class T, class Kernel>
BIJECTA_INLINE Vec<T> differentiate_vector(Kernel& kernel, const Columns<T>& columns, Vec<T> x, Vec<T> g_out, Vec<T> g_ladj) {
    using V = Vec<T>;
    const V input = columns.wrapped(x), q = to_unit<T>(input, columns.bound);
    const auto outside = absolute<T>(input) > columns.bound;
    const V g_inside = outside ? V{} : g_out * columns.bound, g_slope = outside ? V{} : g_ladj;
    const V g_unit = kernel.template pull_back<inverse>(q, columns.circular, g_inside, g_slope);
    // clamp passes no gradient to NaN, so the definition has zero there.
    return outside ? g_out : (q == q ? g_unit / columns.bound : V{});
}

// Call with the direction and the number of bins as constants: with one of the `usual`, or 0 for any number.
template <int... usual, class Call> void with_constants(const Spline& spline, const Call& call) {
    const auto directed = [&](auto bins) {
        if (spline.inverse) call(bins, std::true_type{});
        else call(bins, std::false_type{});
        return true;
    };
    const bool found = ((spline.bins == usual && directed(std::integral_constant<int, usual>{})) || ...);
    if (!found) directed(std::integral_constant<int, 0>{});
}

}  // namespace bijecta
