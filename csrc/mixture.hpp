// Maps by a mixture of distribution functions: of normals, to a standard normal, or of logistic ones, to its logit.
//
// The definitions are `gaussianise` (src/bijecta/functional/gaussianization.py) and `sigmoidal` (monotone.py):
//     y = shift + m x + (1 - m) g,  g = F^-1(P),  P = sum_j w_j F(u_j),  u_j = s_j (x - c_j),
// with F the normal or the logistic distribution function, and  dg/dx = sum_j w_j s_j F'(u_j) / F'(g). P is summed from both
// sides, and the smaller sum, the tail, is what counts; each lane of a vector is one element. Where a tail is out of the
// range of numbers, it is summed again, divided by the exponential of its largest term.

#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "elementary.hpp"
#include "vector.hpp"

namespace bijecta::mixtures {

// What a call is about; Python fills the same structure with ctypes.
struct Mixture {
    int64_t count;       // elements
    int64_t rows;        // of parameters: element i has row i % rows
    int64_t components;  // J
    int64_t batch;       // elements of one row of parameters, or of as many rows, that are worked on in one go
    double bound, limit, min_slope;
    int32_t logistic, inverse, threads;
};

// F at u, measured from the nearer side: F(-|u|) = power * tail, F'(u) = power * density, power = exp(exponent) <= 1, and
// bend = -d log F' / du.
template <class T> struct Component {
    Vec<T> exponent, power, tail, density, bend;
};

// What a tail P says: g = F^-1(P), the quotient P / F'(g), and d log F' / dg at g.
template <class T> struct Link {
    Vec<T> value, ratio, pull;
};

template <class T> struct Normal {
    using V = Vec<T>;
    static constexpr int shifts = 0;  // parameters before those of the components
    static constexpr T root_half = T(0.70710678118654752), per_root_two_pi = T(0.39894228040143268);
    static constexpr T log_two = T(0.69314718055994531), root_two_per_pi = T(0.79788456080286536);

    static BIJECTA_INLINE Component<T> at(V u) {
        const T largest = sizeof(T) == 4 ? T(1e18) : T(1e150);  // its square is finite
        V size = absolute<T>(u);
        size = size > largest ? splat<T>(largest) : size;
        const V exponent = T(-0.5) * size * size;
        return {exponent, exp<T>(exponent), T(0.5) * erfcx<T>(root_half * size), splat<T>(per_root_two_pi), u};
    }

    // Halley's method on log F from a fit in r = sqrt(-2 log P): off by 8e-5, then by 1e-12, then by rounding. The hazard h
    // follows by its own derivatives, h' = -h (h + y).
    static BIJECTA_INLINE Link<T> link(V log_tail, V, V) {
        const V r = sqrt<T>(T(-2) * log_tail), q = T(1) / r;
        const V above = ((T(2.6521033) * q + T(1.58165014)) * q + T(0.0738960171)) * q + T(0.000185790393);
        const V below = (((q + T(1.90999553)) * q + T(0.470234379)) * q + T(0.0127854087)) * q + T(1.99269556e-05);
        V y = above * q / below - r, hazard{};
        for (int step = sizeof(T) == 4 ? 1 : 2; step > 0; --step) {
            y = y > T(0) ? V{} : y;
            const V scaled = erfcx<T>(-root_half * y), h = root_two_per_pi / scaled, sum = h + y;
            const V newton = (log_tail - (log<T>(scaled) - log_two - T(0.5) * y * y)) / h;
            const V move = newton / (T(1) - T(0.5) * newton * sum);
            const V first = -h * sum, second = -first * sum - h * (first + T(1));
            y += move, hazard = h + move * (first + T(0.5) * move * second);
        }
        return {y, T(1) / hazard, y};
    }
};

template <class T> struct Logistic {
    using V = Vec<T>;
    static constexpr int shifts = 1;

    static BIJECTA_INLINE Component<T> at(V u) {
        const V exponent = -absolute<T>(u), power = exp<T>(exponent), tail = T(1) / (T(1) + power);
        const V bend = (T(1) - power) * tail;
        return {exponent, power, tail, tail * tail, u < T(0) ? -bend : bend};
    }

    static BIJECTA_INLINE Link<T> link(V log_tail, V tail, V other) {
        return {log_tail - log<T>(other), (tail + other) / other, tail - other};  // the sum of both, 1, cancels rounding
    }
};

// Sums over the components, and the link; tail and rate are divided by the same number.
template <class T> struct Sums {
    Vec<T> side, tail, other, rate;  // side: 1 where P is the tail, -1 where 1 - P is
    Link<T> link;
};

template <class T> struct Point {
    Vec<T> y, slope;
};

template <class T, class Kind> struct Curve {
    using V = Vec<T>;
    using Limits = std::numeric_limits<T>;
    static constexpr int shifts = Kind::shifts;

    const int components, parameters;
    const T min_slope, rest, limit, bound;  // beyond `bound` the map is its tangent
    std::vector<V> buffer;
    V *const tile, *const weight, *const log_weight, *const scale, *const centre;
    V *const scale_slope, *const centre_slope;             // derivatives by the parameters
    V *const lower, *const upper, *const rate, *const bend;  // terms of the last sums

    explicit Curve(const Mixture& m)
        : components(int(m.components)), parameters(shifts + 3 * components), min_slope(T(m.min_slope)),
          rest(T(1 - m.min_slope)), limit(T(m.limit)), bound(T(m.bound)),
          buffer(size_t(parameters) + 10 * size_t(components)), tile(buffer.data()), weight(tile + parameters),
          log_weight(weight + components), scale(log_weight + components), centre(scale + components),
          scale_slope(centre + components), centre_slope(scale_slope + components), lower(centre_slope + components),
          upper(lower + components), rate(upper + components), bend(rate + components) {}

    // Component j of the logistic kind reacts to its parameters with a strength of its own.
    BIJECTA_INLINE T strength(int j) const {
        return shifts ? (components > 1 ? T(0.5 + double(j) / (components - 1)) : T(0.5)) : T(1);
    }

    BIJECTA_INLINE V shift() const { return shifts ? tile[0] : V{}; }

    // From the parameters in the tile to weights, scales and centres.
    void prepare() {
        V *const logits = tile + shifts, *const scales = logits + components, *const centres = scales + components;
        V largest = splat<T>(-Limits::infinity()), sum{};
        for (int j = 0; j < components; ++j) {
            log_weight[j] = strength(j) * logits[j];
            largest = log_weight[j] > largest ? log_weight[j] : largest;
        }
        for (int j = 0; j < components; ++j) {
            log_weight[j] -= largest;
            weight[j] = exp<T>(log_weight[j]);
            sum += weight[j];
        }
        const V log_sum = log<T>(sum), per_sum = T(1) / sum;
        for (int j = 0; j < components; ++j) {
            log_weight[j] -= log_sum, weight[j] *= per_sum;
            const Tanh<T> clipped = tanh<T>(strength(j) * scales[j] / limit);
            scale[j] = exp<T>(limit * clipped.value), scale_slope[j] = strength(j) * clipped.derivative;
            centre[j] = centres[j], centre_slope[j] = splat<T>(1);
            if constexpr (shifts) {
                const Tanh<T> place = tanh<T>(strength(j) * centres[j] / bound);
                centre[j] = bound * place.value, centre_slope[j] = strength(j) * place.derivative;
            }
        }
    }

    BIJECTA_INLINE V clamped(V x) const {
        if constexpr (shifts) return x;
        return x > bound ? splat<T>(bound) : (x < -bound ? splat<T>(-bound) : x);
    }

    template <bool keep> BIJECTA_INLINE Sums<T> add_up(V x) {
        V below{}, above{}, rates{};
        for (int j = 0; j < components; ++j) {
            const V u = scale[j] * (x - centre[j]);
            const Component<T> part = Kind::at(u);
            const V near = weight[j] * (part.power * part.tail), far = weight[j] - near;
            const V low = u < T(0) ? near : far, high = u < T(0) ? far : near;
            const V slope = weight[j] * scale[j] * part.power * part.density;
            below += low, above += high, rates += slope;
            if constexpr (keep) lower[j] = low, upper[j] = high, rate[j] = slope, bend[j] = part.bend;
        }
        const auto is_below = below <= T(0.5);
        Sums<T> sums{is_below ? splat<T>(1) : splat<T>(-1), is_below ? below : above, is_below ? above : below, rates, {}};
        V log_tail = log<T>(sums.tail);
        const V tail = sums.tail;
        const auto lost = sums.tail < (sizeof(T) == 4 ? T(1e-20) : T(1e-200));
        if (__builtin_expect(any(lost), 0)) {
            const V found = add_up_far(x, sums, lost);
            log_tail = lost ? found : log_tail;
        }
        sums.link = Kind::link(log_tail, tail, sums.other);
        return sums;
    }

    // The tail again in the lanes where it is lost, divided by its largest term; returns the logarithm of the tail.
    template <class Mask> __attribute__((noinline)) V add_up_far(const V& x, Sums<T>& sums, const Mask& lost) {
        V largest = splat<T>(-Limits::infinity()), total{}, rates{};
        for (int j = 0; j < components; ++j) {
            const V u = sums.side * scale[j] * (x - centre[j]), size = log_weight[j] + (u < T(0) ? Kind::at(u).exponent : V{});
            largest = size > largest ? size : largest;
        }
        for (int j = 0; j < components; ++j) {
            const V u = sums.side * scale[j] * (x - centre[j]);
            const Component<T> part = Kind::at(u);
            const V power = exp<T>(log_weight[j] + (u < T(0) ? part.exponent : V{}) - largest);
            const V mass = power * (u < T(0) ? part.tail : T(1) - part.power * part.tail);
            const V slope = scale[j] * part.density * (u < T(0) ? power : power * part.power);
            total += mass, rates += slope;
            lower[j] = lost ? mass : lower[j], upper[j] = lost ? mass : upper[j], rate[j] = lost ? slope : rate[j];
        }
        sums.tail = lost ? total : sums.tail, sums.rate = lost ? rates : sums.rate;
        return largest + log<T>(total);
    }

    BIJECTA_INLINE Point<T> at(V x) {
        const V inside = clamped(x);
        const Sums<T> sums = add_up<false>(inside);
        const V slope = min_slope + rest * (sums.rate / sums.tail * sums.link.ratio);
        V y = shift() + (min_slope * inside + rest * (sums.side * sums.link.value));
        if constexpr (shifts) y = absolute<T>(x) == Limits::infinity() ? x + sums.other + shift() : y;
        else y += slope * (x - inside);
        return {y, slope};
    }

    // Gradients of g_y y + g_ladj ladj at x; those of the parameters in the order of the tile are added to `to`. For the
    // inverse, x = f^-1(y) and ladj = -log f'(x), implicitly: the parameters see the forward map with -dL/dy and -dL/dladj.
    template <bool inverse> BIJECTA_INLINE V differentiate(V x, V g_y, V g_ladj, V* to) {
        const V inside = clamped(x);
        const auto is_inside = inside == x;
        const Sums<T> sums = add_up<true>(inside);
        const V steep = sums.rate / sums.tail * sums.link.ratio, slope = min_slope + rest * steep;
        const V share = rest * steep / slope, pull = sums.side * sums.link.pull;
        const V per_tail = T(1) / sums.tail, per_rate = sums.rate < Limits::min() ? V{} : T(1) / sums.rate;
        V turn{};
        for (int j = 0; j < components; ++j) turn += per_rate * rate[j] * bend[j] * scale[j];
        V g_in{};
        if constexpr (inverse) {
            const V curvature = is_inside ? share * (pull * steep - turn) : V{};
            g_in = (g_y - g_ladj * curvature) / slope;
            g_y = -g_in, g_ladj = -g_ladj;
        }
        const V to_ladj = is_inside ? g_ladj : g_ladj + g_y * slope * (x - inside);
        const V to_value = rest * g_y, to_steep = to_ladj * share;  // gradients by g, and by log(dg/dx) = log steep
        const V climb = to_value * steep, ratio = sums.side * sums.link.ratio;
        const auto is_below = sums.side > T(0);
        if constexpr (shifts) to[0] += g_y;
        // Far out `to_steep` is as large as x: what it multiplies is small, but its parts are not, so they are added first.
        for (int j = 0; j < components; ++j) {
            V *const logit = to + shifts + j, *const log_scale = logit + components, *const middle = log_scale + components;
            const V mass = ratio * (per_tail * (is_below ? lower[j] : upper[j]) - weight[j]), part = per_rate * rate[j];
            const V distance = inside - centre[j], tilt = pull * steep - bend[j] * scale[j];
            *logit += to_value * mass + to_steep * (pull * mass + (part - weight[j]));
            *log_scale += part * distance * climb + to_steep * (part * (T(1) + tilt * distance));
            *middle -= part * climb + to_steep * (part * tilt);
        }
        if constexpr (inverse) return g_in;
        return is_inside ? climb + to_steep * (pull * steep - turn) + min_slope * g_y : g_y * slope;
    }

    // From gradients by logits, log-scales and centres to those by the parameters.
    BIJECTA_INLINE void to_parameters(V* g) const {
        for (int j = 0; j < components; ++j) {
            g[shifts + j] *= strength(j);
            g[shifts + components + j] *= scale_slope[j];
            g[shifts + 2 * components + j] *= centre_slope[j];
        }
    }

    // --- the inverse -----------------------------------------------------------------------------------------------------

    // Newton's method within a bracket, which is halved where a step leaves it or is not half as long as the one before.
    // The numbers that are not finite stay. A lane that does not arrive stays infinite.
    BIJECTA_INLINE V solve(V z) {
        const T eps = Limits::epsilon();
        V reach = reach_of(z), x = first_guess(z, reach);
        V low = splat<T>(-Limits::infinity()), high = -low, before = high;
        const auto finite = absolute<T>(z) < Limits::infinity();
        auto waiting = finite;
        x = finite ? x : z;
        for (int step = 0; step < max_steps && any(waiting); ++step) {
            const Point<T> here = at(x);
            const V residual = here.y - z, newton = residual / here.slope;
            low = residual < T(0) ? x : low, high = residual > T(0) ? x : high;
            // Beyond the reach the map is a straight line, or nearly one.
            const auto at_end = (absolute<T>(x) >= reach) & (absolute<T>(x - newton) > reach);
            reach = at_end ? T(2) * absolute<T>(x - newton) : reach;
            const V first = low > -reach ? low : -reach, last = high < reach ? high : reach;
            V next = x - newton;
            next = next > reach ? reach : (next < -reach ? -reach : next);
            const V tolerance = T(4) * eps * (T(1) + absolute<T>(x)), length = absolute<T>(newton);
            const auto settled = absolute<T>(residual) <= T(0.5) * eps * (T(1) + absolute<T>(z));
            const auto quick = (length <= T(0.5) * before) | (absolute<T>(next) >= reach) | at_end;
            const auto certain = (next > low) & (next < high) & quick;
            next = certain ? next : (settled ? x : T(0.5) * first + T(0.5) * last);
            const auto undefined = (residual != residual) & (absolute<T>(x) < Limits::infinity());
            next = undefined ? residual : (next == next ? next : splat<T>(Limits::infinity()));
            const auto done = settled | (certain & (length <= tolerance)) | (high - low <= tolerance) | undefined;
            before = absolute<T>(next - x);
            x = waiting ? next : x;
            waiting = waiting & ~done;
        }
        return waiting ? splat<T>(Limits::infinity()) : x;
    }

    static constexpr int max_steps = 300;  // halving a bracket of float64 to its last digit takes 60

    // How far from 0 the root can be; normals: where the tangents begin.
    BIJECTA_INLINE V reach_of(V z) const {
        if constexpr (!shifts) return splat<T>(bound);
        V gentlest = scale[0];
        for (int j = 1; j < components; ++j) gentlest = scale[j] < gentlest ? scale[j] : gentlest;
        // Outside of all centres the logit has the sign of x, and at least half the slope of the gentlest component.
        return T(1) + bound + absolute<T>(z - shift()) / (min_slope + T(0.5) * rest * gentlest);
    }

    // As if the mixture were one component of the same mean and spread.
    BIJECTA_INLINE V first_guess(V z, V reach) const {
        V mean{}, variance{};
        for (int j = 0; j < components; ++j) mean += weight[j] * centre[j];
        for (int j = 0; j < components; ++j) {
            const V distance = centre[j] - mean;
            variance += weight[j] * (distance * distance + T(1) / (scale[j] * scale[j]));
        }
        const V x = mean + sqrt<T>(variance) * (z - shift());
        return x > reach ? reach : (x < -reach ? -reach : x);
    }
};

}  // namespace bijecta::mixtures
