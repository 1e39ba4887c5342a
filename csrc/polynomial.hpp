// Splines of order one, two and three: forward, inverse, and their gradients from (x, params) alone.
//
// The definition is src/bijecta/functional/polynomial.py. All three are y = y0 + w q(xi) in their bin, with dy/dx = q'(xi)
// and another polynomial q each; so they share everything but q, the slopes that it is made from, and their gradients.

#pragma once

#include "spline.hpp"

namespace bijecta {

// The bin of an element: its knots, and how much of the side that the element is on lies left and right of it.
template <class T> struct Cell {
    Vec<T> index, x0, x1, y0, y1, w, h, left, right;
};

// The element in its bin: q and its first two derivatives at xi = 1 - nu, and the answer.
template <class T> struct Course {
    Vec<T> w, xi, nu, q, slope, bend, image;
};

// What derivatives of gy * y + gl * ladj, the forward map's, are made from.
template <class T> struct Upstream {
    Vec<T> input;
    Vec<T> y, per_slope;  // gy, gl / q'
    Vec<T> x0, w;         // to the left knot and the width, where q stays as it is; gy is that to y0
};

template <bool inverse, class T> BIJECTA_INLINE Upstream<T> upstream(const Course<T>& c, Vec<T> g_out, Vec<T> g_ladj) {
    using V = Vec<T>;
    const V turn = g_ladj * c.bend / (c.slope * c.w);
    if constexpr (inverse) {
        // Implicit: x = f^-1(y), ladj = -log f'(x). The parameters see the forward map with -dL/dy and -dL/dladj.
        const V g_in = (g_out - turn) / c.slope;
        return {g_in, -g_in, -g_ladj / c.slope, g_out, c.xi * g_out - g_in * c.q};
    } else {
        const V g_in = g_out * c.slope + turn;
        return {g_in, g_out, g_ladj / c.slope, -g_in, g_out * c.q - c.xi * g_in};
    }
}

// In place of E = exp(logits - max), from the gradients g(i) to w_i = 2 (m + c pi_i): the gradients of the logits.
template <class T, class Gradient> BIJECTA_INLINE void softmax_gradient(Vec<T>* E, int bins, T rest, const Gradient& g) {
    Vec<T> sum{}, mean{};
    for (int i = 0; i < bins; ++i) {
        sum += E[i];
        mean += E[i] * g(i);
    }
    mean /= sum;
    const Vec<T> scale = 2 * rest / sum;
    for (int i = 0; i < bins; ++i) E[i] *= scale * (g(i) - mean);
}

// The parameters of a vector of elements, and tables of its knots.
template <class T, int K> struct Knots {
    using Number = T;
    using V = Vec<T>;

    const Settings<T> set;
    const std::unique_ptr<V[]> tile, tables;
    V *const x, *const y, *const slope;  // knots -1 to K + 1, those outside for who looks at the neighbours of a bin

    Knots(const Settings<T>& settings, int parameters)
        : set(settings), tile(new V[parameters]), tables(new V[3 * (bins() + 3)]), x(&tables[1]), y(x + bins() + 3),
          slope(y + bins() + 3) {}

    BIJECTA_INLINE int bins() const { return K ? K : set.bins; }

    // The knots of one side; its logits become E.
    BIJECTA_INLINE void place(V* logits, V* knots) const {
        const V scale = 2 * set.rest * exponentials<T>(logits, bins());
        V sum{};
        for (int j = 1; j < bins(); ++j) {
            sum += logits[j - 1];
            knots[j] = (2 * set.min_bin * T(j) - 1) + scale * sum;
        }
        pin(knots);
    }

    BIJECTA_INLINE void pin(V* knots) const {
        knots[-1] = splat<T>(-2), knots[0] = splat<T>(-1);
        knots[bins()] = splat<T>(1), knots[bins() + 1] = splat<T>(2);
    }

    template <bool inverse> BIJECTA_INLINE Cell<T> find(V q) const {
        const V* const knots = inverse ? y : x;
        Cell<T> c{};
        for (int j = 1; j < bins(); ++j) c.index += q >= knots[j] ? splat<T>(1) : V{};
        c.x0 = at(x, c.index), c.x1 = at(x + 1, c.index), c.w = c.x1 - c.x0;
        c.y0 = at(y, c.index), c.y1 = at(y + 1, c.index), c.h = c.y1 - c.y0;
        c.left = inverse ? (q - c.y0) / c.h : (q - c.x0) / c.w;
        c.right = inverse ? (c.y1 - q) / c.h : (c.x1 - q) / c.w;
        return c;
    }

    BIJECTA_INLINE V at(const V* table, V index) const {
        V value = table[0];
        for (int j = 1; j < bins(); ++j) value = index >= T(j) ? table[j] : value;
        return value;
    }

    // From the nearer knot of the other side, so that both are exact; `part` of the way is covered, `rest` is not.
    template <bool inverse> BIJECTA_INLINE static V between(const Cell<T>& c, V part, V rest) {
        if constexpr (inverse) return part <= rest ? c.x0 + c.w * part : c.x1 - c.w * rest;
        return part <= rest ? c.y0 + c.h * part : c.y1 - c.h * rest;
    }
};

// q = s xi on bins of equal width; the parameters are logits of heights.
template <class T, int K> struct LinearOrder : Knots<T, K> {
    using V = Vec<T>;
    using Knots<T, K>::bins;

    explicit LinearOrder(const Settings<T>& settings) : Knots<T, K>(settings, settings.bins) {}

    BIJECTA_INLINE int parameters() const { return bins(); }

    BIJECTA_INLINE void place_all() {
        this->place(this->tile.get(), this->y);
        for (int j = 1; j < bins(); ++j) this->x[j] = splat<T>(T(2) * T(j) / T(bins()) - 1);
        this->pin(this->x);
    }

    BIJECTA_INLINE V ends(const Cell<T>& cell) const { return cell.h / cell.w; }

    template <bool inverse> BIJECTA_INLINE Course<T> course(const Cell<T>& cell, V s) const {
        const V image = this->template between<inverse>(cell, cell.left, cell.right);
        return {cell.w, cell.left, cell.right, s * cell.left, s, V{}, image};
    }

    BIJECTA_INLINE void collect(const Cell<T>& cell, V, const Course<T>& c, const Upstream<T>& up) {
        const V here = up.y * c.xi + up.per_slope / c.w;
        softmax_gradient<T>(this->tile.get(), bins(), this->set.rest, [&](int i) {
            return cell.index == T(i) ? here : (cell.index > T(i) ? up.y : V{});
        });
    }
};

// q = xi (v0 + v) / 2 with v = v0 nu + v1 xi; the parameters are logits of widths and of the slopes at inner knots,
//     v_j = m' + (1 - m') u_j A / B,  u = exp(logits - max),  A = sum a_j,  B = sum a_j u_j,
// where a_j is half the width of the two bins at knot j.
template <class T, int K> struct QuadraticOrder : Knots<T, K> {
    using V = Vec<T>;
    using Knots<T, K>::bins;
    struct Ends {
        V v0, v1;
    };

    V *const u;  // u[j] of knot j
    V A{}, per_B{};

    explicit QuadraticOrder(const Settings<T>& settings)
        : Knots<T, K>(settings, 2 * settings.bins - 1), u(this->tile.get() + bins() - 1) {}

    BIJECTA_INLINE int parameters() const { return 2 * bins() - 1; }

    BIJECTA_INLINE V width(int i) const { return this->x[i + 1] - this->x[i]; }
    BIJECTA_INLINE V share(int j) const { return T(0.5) * (this->x[j + 1] - this->x[j - 1]); }
    BIJECTA_INLINE V area(int i) const { return T(0.5) * (this->slope[i] + this->slope[i + 1]) * width(i); }

    BIJECTA_INLINE void place_all() {
        this->place(this->tile.get(), this->x);
        V *const v = this->slope, *const y = this->y;
        V B{};
        if (bins() > 1) exponentials<T>(u + 1, bins() - 1);
        A = V{};
        for (int j = 1; j < bins(); ++j) {
            A += share(j);
            B += share(j) * u[j];
        }
        per_B = T(1) / B;
        v[0] = v[bins()] = splat<T>(1);
        for (int j = 1; j < bins(); ++j) v[j] = this->set.min_slope + (1 - this->set.min_slope) * (A * per_B) * u[j];
        this->pin(y);
        for (int j = 1; j < bins(); ++j) y[j] = y[j - 1] + area(j - 1);
    }

    BIJECTA_INLINE Ends ends(const Cell<T>& cell) const {
        return {this->at(this->slope, cell.index), this->at(this->slope + 1, cell.index)};
    }

    template <bool inverse> BIJECTA_INLINE Course<T> course(const Cell<T>& cell, const Ends& e) const {
        const V &left = cell.left, &right = cell.right, sum = e.v0 + e.v1;
        // Inverse: the slope's square is linear in y, for d(v^2)/dy = 2 dv/dx is constant.
        const V v = inverse ? sqrt<T>(e.v0 * e.v0 * right + e.v1 * e.v1 * left) : e.v0 * right + e.v1 * left;
        const V part = inverse ? left * sum / (e.v0 + v) : left * (e.v0 + v) / sum;
        const V rest = inverse ? right * sum / (e.v1 + v) : right * (e.v1 + v) / sum;
        const V xi = inverse ? part : left, nu = inverse ? rest : right;
        const V image = this->template between<inverse>(cell, part, rest);
        return {cell.w, xi, nu, T(0.5) * xi * (e.v0 + v), v, e.v1 - e.v0, image};
    }

    BIJECTA_INLINE void collect(const Cell<T>& cell, const Ends&, const Course<T>& c, const Upstream<T>& up) {
        const V &k = cell.index, half = T(0.5) * up.y;
        const V to_v0 = half * c.w * c.xi * (1 + c.nu) + up.per_slope * c.nu;
        const V to_v1 = half * c.w * c.xi * c.xi + up.per_slope * c.xi;
        // To v_j: y0 is the sum of the areas below, so every bin below moves the slopes at both of its ends.
        const auto to_slope = [&](int j) {
            const V at_bin = k == T(j) ? half * width(j - 1) + to_v0 : (k == T(j - 1) ? to_v1 : V{});
            return k > T(j) ? up.y * share(j) : at_bin;
        };
        V ratio{};
        for (int j = 1; j < bins(); ++j) ratio += to_slope(j) * u[j];
        ratio *= per_B;
        const T free = 1 - this->set.min_slope;
        const auto to_share = [&](int j) { return j == 0 || j == bins() ? V{} : free * ratio * (1 - A * per_B * u[j]); };
        softmax_gradient<T>(this->tile.get(), bins(), this->set.rest, [&](int i) {
            const V to_area = half * (this->slope[i] + this->slope[i + 1]);
            const V at_bin = k == T(i) ? up.w : (k > T(i) ? up.x0 + to_area : V{});
            return at_bin + T(0.5) * (to_share(i) + to_share(i + 1));
        });
        for (int j = 1; j < bins(); ++j) u[j] *= free * (A * per_B) * (to_slope(j) - share(j) * ratio);
    }
};

// The slope at a knot between two bins, or at the boundary, and its derivatives by the slopes and widths of the bins.
template <class T> struct Knee {
    Vec<T> slope, s_left, s_right, w_left, w_right;
};

// Steffen's: min(2 s_left, 2 s_right, (s_left w_right + s_right w_left) / (w_left + w_right)).
template <class T> BIJECTA_INLINE Knee<T> steffen(Vec<T> s_left, Vec<T> s_right, Vec<T> w_left, Vec<T> w_right) {
    using V = Vec<T>;
    const V none{}, two = splat<T>(2), per_width = T(1) / (w_left + w_right);
    const V parabola = (s_left * w_right + s_right * w_left) * per_width;
    const auto from_left = s_left < s_right;
    const V cap = two * (from_left ? s_left : s_right);
    const auto capped = cap < parabola;
    return {capped ? cap : parabola,
            capped ? (from_left ? two : none) : w_right * per_width,
            capped ? (from_left ? none : two) : w_left * per_width,
            capped ? none : (s_right - parabola) * per_width,
            capped ? none : (s_left - parabola) * per_width};
}

template <class T, class Mask> BIJECTA_INLINE Knee<T> choose(Mask mask, const Knee<T>& a, const Knee<T>& b) {
    return {mask ? a.slope : b.slope, mask ? a.s_left : b.s_left, mask ? a.s_right : b.s_right,
            mask ? a.w_left : b.w_left, mask ? a.w_right : b.w_right};
}

// Both in units of the bin's slope: the covered part of the bin's height, and dy/dx.
template <class T> BIJECTA_INLINE Vec<T> cubic_part(Vec<T> xi, Vec<T> nu, Vec<T> a, Vec<T> b) {
    return xi * (a * nu * nu + (3 - b) * xi * nu + xi * xi);
}
template <class T> BIJECTA_INLINE Vec<T> cubic_slope(Vec<T> xi, Vec<T> nu, Vec<T> a, Vec<T> b) {
    return a * nu * nu + b * xi * xi + (6 - 2 * (a + b)) * xi * nu;
}

// Newton's method from the rational-quadratic curve with the same ends and slopes; the fifth step is within rounding.
template <class T> BIJECTA_INLINE Root<T> cubic_root(Vec<T> t, Vec<T> tc, Vec<T> a, Vec<T> b) {
    using V = Vec<T>;
    const auto reflect = t > tc;
    const V near = reflect ? tc : t, far = reflect ? t : tc, d0 = reflect ? b : a, d1 = reflect ? a : b;
    V z = unit_root<T>(near, far, splat<T>(1), d0, d1).xi;
    for (int step = 0; step < 5; ++step) {
        z -= (cubic_part<T>(z, 1 - z, d0, d1) - near) / cubic_slope<T>(z, 1 - z, d0, d1);
        z = z < T(0) ? V{} : (z > T(1) ? splat<T>(1) : z);
    }
    return {reflect ? 1 - z : z, reflect ? z : 1 - z};
}

// q = d0 xi nu^2 + (3 s - d1) xi^2 nu + s xi^3; the parameters are logits of widths and heights, and those of the boundary
// slopes s (1 + (1 - m') tanh(logit / 2)).
template <class T, int K> struct CubicOrder : Knots<T, K> {
    using V = Vec<T>;
    using Knots<T, K>::bins;
    struct Ends {
        V s;
        V w_before, s_before, w_after, s_after;  // the neighbours; any number where there is none
        Tanh<T> first, last;
        Knee<T> left, right;
    };

    V *const heights, *const boundary;

    explicit CubicOrder(const Settings<T>& settings)
        : Knots<T, K>(settings, 2 * settings.bins + 2), heights(this->tile.get() + bins()), boundary(heights + bins()) {}

    BIJECTA_INLINE int parameters() const { return 2 * bins() + 2; }

    BIJECTA_INLINE void place_all() {
        this->place(this->tile.get(), this->x);
        this->place(heights, this->y);
    }

    BIJECTA_INLINE Ends ends(const Cell<T>& cell) const {
        const V &k = cell.index, s = cell.h / cell.w;
        const V w_before = cell.x0 - this->at(this->x - 1, k), w_after = this->at(this->x + 2, k) - cell.x1;
        const V s_before = (cell.y0 - this->at(this->y - 1, k)) / w_before;
        const V s_after = (this->at(this->y + 2, k) - cell.y1) / w_after;
        const Tanh<T> first = tanh<T>(T(0.5) * boundary[0]), last = tanh<T>(T(0.5) * boundary[1]);
        const T free = 1 - this->set.min_slope;
        const V ratio0 = 1 + free * first.value, ratio1 = 1 + free * last.value;
        return {s, w_before, s_before, w_after, s_after, first, last,
                choose<T>(k == T(0), {ratio0 * s, V{}, ratio0, V{}, V{}}, steffen<T>(s_before, s, w_before, cell.w)),
                choose<T>(k == T(bins() - 1), {ratio1 * s, ratio1, V{}, V{}, V{}}, steffen<T>(s, s_after, cell.w, w_after))};
    }

    template <bool inverse> BIJECTA_INLINE Course<T> course(const Cell<T>& cell, const Ends& e) const {
        const V d0 = e.left.slope, d1 = e.right.slope, a = d0 / e.s, b = d1 / e.s;
        Root<T> root{cell.left, cell.right}, part;
        if constexpr (inverse) part = root = cubic_root<T>(cell.left, cell.right, a, b);
        else part = {cubic_part<T>(cell.left, cell.right, a, b), cubic_part<T>(cell.right, cell.left, b, a)};
        const V &xi = root.xi, &nu = root.nu;
        const V bend = 2 * (d1 * xi - d0 * nu + (3 * e.s - d0 - d1) * (nu - xi));
        return {cell.w, xi, nu, e.s * cubic_part<T>(xi, nu, a, b), e.s * cubic_slope<T>(xi, nu, a, b), bend,
                this->template between<inverse>(cell, part.xi, part.nu)};
    }

    BIJECTA_INLINE void collect(const Cell<T>& cell, const Ends& e, const Course<T>& c, const Upstream<T>& up) {
        const V &k = cell.index, p = c.xi * c.nu, rise = up.y * c.w * p;
        const V to_d0 = rise * c.nu + up.per_slope * (c.nu * c.nu - 2 * p);
        const V to_d1 = -rise * c.xi + up.per_slope * (c.xi * c.xi - 2 * p);
        const V alone = up.y * c.w * c.xi * c.xi * (3 * c.nu + c.xi) + 6 * up.per_slope * p;
        const V to_s = alone + to_d0 * e.left.s_right + to_d1 * e.right.s_left;
        // s = h / w, for the bin and its neighbours.
        const V here_y = to_s / c.w, here_x = up.w + to_d0 * e.left.w_right + to_d1 * e.right.w_left - here_y * e.s;
        const V before_y = to_d0 * e.left.s_left / e.w_before, before_x = to_d0 * e.left.w_left - before_y * e.s_before;
        const V after_y = to_d1 * e.right.s_right / e.w_after, after_x = to_d1 * e.right.w_right - after_y * e.s_after;
        spread(this->tile.get(), k, up.x0, before_x, here_x, after_x);
        spread(heights, k, up.y, before_y, here_y, after_y);
        const T half = T(0.5) * (1 - this->set.min_slope);
        boundary[0] = k == T(0) ? half * to_d0 * e.s * e.first.derivative : V{};
        boundary[1] = k == T(bins() - 1) ? half * to_d1 * e.s * e.last.derivative : V{};
    }

    // The gradients of all bins below, of the one before, of the bin itself and the one after it.
    BIJECTA_INLINE void spread(V* E, V k, V below, V before, V here, V after) const {
        softmax_gradient<T>(E, bins(), this->set.rest, [&](int i) {
            const V lower = below + (k == T(i + 1) ? before : V{});
            return k > T(i) ? lower : (k == T(i) ? here : (k == T(i - 1) ? after : V{}));
        });
    }
};

// A kernel from what the orders differ in.
template <class Order> struct Polynomial : Order {
    using Order::Order;
    using V = typename Order::V;

    template <bool inverse, class Mask> BIJECTA_INLINE auto point(V q, Mask) -> Point<typename Order::Number> {
        this->place_all();
        const auto cell = this->template find<inverse>(q);
        const auto course = this->template course<inverse>(cell, this->ends(cell));
        return {course.image, course.slope};
    }

    template <bool inverse, class Mask> BIJECTA_INLINE V pull_back(V q, Mask, V g_out, V g_ladj) {
        this->place_all();
        const auto cell = this->template find<inverse>(q);
        const auto ends = this->ends(cell);
        const auto course = this->template course<inverse>(cell, ends);
        const auto up = upstream<inverse, typename Order::Number>(course, g_out, g_ladj);
        this->collect(cell, ends, course, up);
        return up.input;
    }
};

template <class T, int K> using Linear = Polynomial<LinearOrder<T, K>>;
template <class T, int K> using Quadratic = Polynomial<QuadraticOrder<T, K>>;
template <class T, int K> using Cubic = Polynomial<CubicOrder<T, K>>;

}  // namespace bijecta
