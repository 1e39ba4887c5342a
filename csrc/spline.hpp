// The monotone rational-quadratic spline: forward, inverse, and their gradients from (x, params) alone.
//
// The definition is src/bijecta/functional/rational_quadratic.py; here one pass over the parameters finds the bin among the
// knots of knots.hpp. The slope at a knot is d = exp(limit tanh(logit / limit)).

#pragma once

#include "knots.hpp"

namespace bijecta {

// One side of the bin, widths or heights: its two knots, and what the gradient of the softmax needs.
template <class T> struct Side {
    Vec<T> low, high;    // the knots
    Vec<T> below, here;  // probability of all bins below, and of this one
};

template <class T> struct Bin {
    Side<T> x, y;
    Vec<T> logit0, logit1;
    Vec<T> index;
};

// The root of N / D = t in a bin of slope s, in a form that never subtracts, from the side that sign(e) names.
template <class T> struct Root {
    Vec<T> xi, nu;
};

template <class T> BIJECTA_INLINE Root<T> unit_root(Vec<T> t, Vec<T> tc, Vec<T> s, Vec<T> d0, Vec<T> d1) {
    const Vec<T> e = d0 * tc - d1 * t;
    const Vec<T> root = sqrt<T>(e * e + T(4) * s * s * t * tc);
    const auto reflect = e < T(0);
    const Vec<T> rest = (reflect ? -e : e) + root, near = T(2) * s * (reflect ? tc : t);
    const Vec<T> q = rest + near, z = near / q, zc = rest / q;
    return {reflect ? zc : z, reflect ? z : zc};
}

// Everything that the formulas of one bin share; xi and nu are the distances to its two knots, in [0, 1].
template <class T> struct Curve {
    Vec<T> w, h, s, d0, d1;
    Vec<T> xi, nu, N, M, D, steep;  // steep = T: dy/dx = (s/D)^2 T
    Tanh<T> t0, t1;

    template <bool inverse> BIJECTA_INLINE Curve(const Bin<T>& b, Vec<T> q, T limit, std::bool_constant<inverse>)
        : w(b.x.high - b.x.low), h(b.y.high - b.y.low), s(h / w), t0(tanh<T>(b.logit0 / limit)),
          t1(tanh<T>(b.logit1 / limit)) {
        d0 = exp<T>(limit * t0.value), d1 = exp<T>(limit * t1.value);
        if constexpr (inverse) {
            const Root<T> root = unit_root<T>((q - b.y.low) / h, (b.y.high - q) / h, s, d0, d1);
            xi = root.xi, nu = root.nu;
        } else {
            xi = (q - b.x.low) / w, nu = (b.x.high - q) / w;
        }
        const Vec<T> p = xi * nu;
        N = s * xi * xi + d0 * p, M = s * nu * nu + d1 * p, D = N + M;
        steep = d1 * xi * xi + T(2) * s * p + d0 * nu * nu;
    }

    BIJECTA_INLINE Vec<T> slope() const { return (s / D) * (s / D) * steep; }

    // Adding the smaller part to its own knot makes both knots exact.
    BIJECTA_INLINE Vec<T> image(const Bin<T>& b) const {
        return N <= M ? b.y.low + h * (N / D) : b.y.high - h * (M / D);
    }
    BIJECTA_INLINE Vec<T> preimage(const Bin<T>& b) const { return xi <= nu ? b.x.low + w * xi : b.x.high - w * nu; }
};

// Derivatives of gy * y + gl * ladj, the forward map's, in the order in which the parameters need them.
template <class T> struct Gradient {
    Vec<T> input;
    Vec<T> x_low, x_high, y_low, y_high;  // to the four knots
    Vec<T> logit0, logit1;
};

template <class T, bool inverse> BIJECTA_INLINE Gradient<T> differentiate(const Curve<T>& c, Vec<T> g_out, Vec<T> g_ladj) {
    using V = Vec<T>;
    const V p = c.xi * c.nu, per_D = T(1) / c.D, per_T = T(1) / c.steep, per_w = T(1) / c.w;
    const V tilt = c.nu - c.xi;
    // Derivatives of ladj = 2 log s - 2 log D + log T, with nu = 1 - xi.
    const V ladj_xi = T(2) * ((c.d1 * c.xi - c.d0 * c.nu + c.s * tilt) * per_T - (c.d0 + c.d1 - 2 * c.s) * tilt * per_D);
    const V ladj_s = T(2) * (T(1) / c.s + p * per_T - (c.xi * c.xi + c.nu * c.nu) * per_D);
    const V ladj_d0 = c.nu * c.nu * per_T - T(2) * p * per_D, ladj_d1 = c.xi * c.xi * per_T - T(2) * p * per_D;
    V g_y = g_out, g_in{};
    if constexpr (inverse) {
        // Implicit: x = f^-1(y), ladj = -log f'(x). The parameters see the forward map with -dL/dy and -dL/dladj.
        g_in = (g_out - g_ladj * ladj_xi * per_w) / c.slope();
        g_y = -g_in, g_ladj = -g_ladj;
    }
    const V g = g_y * c.h * per_D * per_D;
    const V g_xi = g * c.s * c.steep + g_ladj * ladj_xi;
    const V g_s = g * p * (c.d1 * c.xi * c.xi - c.d0 * c.nu * c.nu) + g_ladj * ladj_s;
    const V g_d0 = g * p * c.M + g_ladj * ladj_d0, g_d1 = -g * p * c.N + g_ladj * ladj_d1;
    // xi = (x - x0) / w, s = h / w, y = y0 + h N / D.
    const V turn = g_s * c.s, rise = g_s * per_w;
    return {inverse ? g_in : g_xi * per_w,
            (turn - g_xi * c.nu) * per_w, -(turn + g_xi * c.xi) * per_w,
            g_y * c.M * per_D - rise, g_y * c.N * per_D + rise,
            g_d0 * c.d0 * c.t0.derivative, g_d1 * c.d1 * c.t1.derivative};
}

// The logits of one side: knots x_j = -1 + 2 (m j + c sum_(i<j) pi_i) and softmax together. In place of E.
template <class T, int K>
BIJECTA_INLINE void to_logits(Vec<T>* E, int runtime_bins, const Side<T>& side, Vec<T> index, Vec<T> g_low, Vec<T> g_high, T rest) {
    const int bins = K ? K : runtime_bins;
    // The last knot is pinned. All bins below move both knots, the bin itself moves only the upper one.
    g_high = index == T(bins - 1) ? Vec<T>{} : g_high;
    const Vec<T> both = g_low + g_high;
    Vec<T> sum{};
    for (int i = 0; i < bins; ++i) sum += E[i];
    const Vec<T> scale = 2 * rest / sum;
    // dL/dpi minus its mean under pi, written so that nothing cancels for the bins below, the bin, and those above.
    const Vec<T> below = scale * (both * (T(1) - side.below) - g_high * side.here);
    const Vec<T> here = scale * (g_high * (T(1) - side.here) - both * side.below);
    const Vec<T> above = -scale * (both * side.below + g_high * side.here);
    for (int i = 0; i < bins; ++i) {
        E[i] *= index == T(i) ? here : (index > T(i) ? below : above);
    }
}

// K is a number of bins, so that the loops unroll; 0 means any number.
template <class T, int K> struct Kernel {
    using V = Vec<T>;
    static constexpr int L = Vector<T>::lanes;

    const Settings<T> set;
    const int bins;
    const std::unique_ptr<V[]> tile;  // parameters, one vector each; widths and heights become E in place

    explicit Kernel(const Settings<T>& settings)
        : set(settings), bins(K ? K : settings.bins), tile(new V[parameters()]) {}

    BIJECTA_INLINE int parameters() const { return 3 * (K ? K : set.bins) - (set.boundary_logit ? 0 : 1); }

    template <bool inverse> BIJECTA_INLINE Point<T> point(V q, Words<T> circular) {
        const Bin<T> bin = find<inverse, false>(q, circular);
        const Curve<T> curve(bin, q, set.slope_limit, std::bool_constant<inverse>{});
        return {inverse ? curve.preimage(bin) : curve.image(bin), curve.slope()};
    }

    template <bool inverse> BIJECTA_INLINE V pull_back(V q, Words<T> circular, V g_out, V g_ladj) {
        const Bin<T> bin = find<inverse, true>(q, circular);
        const Curve<T> curve(bin, q, set.slope_limit, std::bool_constant<inverse>{});
        const Gradient<T> g = differentiate<T, inverse>(curve, g_out, g_ladj);
        V *const E = tile.get(), *const F = E + bins, *logits = F + bins;
        to_logits<T, K>(E, bins, bin.x, bin.index, g.x_low, g.x_high, set.rest);
        to_logits<T, K>(F, bins, bin.y, bin.index, g.y_low, g.y_high, set.rest);
        if (set.boundary_logit) {
            const V ends = (bin.index == T(0) ? g.logit0 : V{}) + (bin.index == T(bins - 1) ? g.logit1 : V{});
            *logits++ = from_words<T>(to_words<T>(ends) & circular);
        }
        for (int j = 1; j < bins; ++j) {
            logits[j - 1] = (bin.index == T(j) ? g.logit0 : V{}) + (bin.index == T(j - 1) ? g.logit1 : V{});
        }
        return g.input;
    }

    // Find the bin of q among the knots of x (inverse: of y) from the parameters in the tile.
    template <bool inverse, bool gradient> BIJECTA_INLINE Bin<T> find(V q, Words<T> circular) {
        V *const E = tile.get(), *const F = E + bins, *const logits = F + bins + (set.boundary_logit ? 0 : -1);
        const V per_width = exponentials<T>(E, bins), per_height = exponentials<T>(F, bins);
        // logits[1 .. K-1] are those of the inner knots; both boundary knots share logits[0] where circular, else 0.
        const V boundary = set.boundary_logit ? from_words<T>(to_words<T>(logits[0]) & circular) : V{};
        const V scale_x = 2 * set.rest * per_width, scale_y = 2 * set.rest * per_height;
        V C = E[0], D = F[0];
        V next_x = knot(1, C, scale_x), next_y = knot(1, D, scale_y);
        Bin<T> b{{splat<T>(-1), next_x, V{}, E[0]}, {splat<T>(-1), next_y, V{}, F[0]}, boundary, V{}, V{}};
        b.logit1 = bins > 1 ? logits[1] : boundary;
        for (int j = 1; j < bins; ++j) {
            const auto take = q >= (inverse ? next_y : next_x);  // the last one that is true wins
            b.x.low = take ? next_x : b.x.low;
            b.y.low = take ? next_y : b.y.low;
            if constexpr (gradient) {
                b.x.below = take ? C : b.x.below;
                b.y.below = take ? D : b.y.below;
                b.x.here = take ? E[j] : b.x.here;
                b.y.here = take ? F[j] : b.y.here;
                b.index = take ? splat<T>(T(j)) : b.index;
            }
            C += E[j], D += F[j];
            next_x = knot(j + 1, C, scale_x), next_y = knot(j + 1, D, scale_y);
            b.x.high = take ? next_x : b.x.high;
            b.y.high = take ? next_y : b.y.high;
            b.logit0 = take ? logits[j] : b.logit0;
            b.logit1 = take ? (j + 1 < bins ? logits[j + 1] : boundary) : b.logit1;
        }
        if constexpr (gradient) {
            b.x.below *= per_width, b.x.here *= per_width;
            b.y.below *= per_height, b.y.here *= per_height;
        }
        return b;
    }

    // The right edge is pinned, not summed, unless a parameter is NaN.
    BIJECTA_INLINE V knot(int j, V sum, V scale) const {
        const V inner = (2 * set.min_bin * T(j) - 1) + scale * sum;
        if (j < bins) return inner;
        return inner == inner ? splat<T>(1) : inner;
    }
};

}  // namespace bijecta
