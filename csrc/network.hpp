// A multilayer perceptron with ReLU between its layers, dense or masked, for one tile of rows: forward, and its gradient.

#pragma once

#include <vector>

#include "product.hpp"

namespace bijecta {

// One affine layer, as Python describes it with ctypes.
struct Layer {
    int64_t in, out;
    const void *weight, *bias;              // (out, in) row by row, and (out,), of the elements' type; no bias: null
    void *weight_gradient, *bias_gradient;  // of the same shapes; null where not wanted
    const int32_t *columns, *rows;          // input k is column columns[k] of the weight, output o its row rows[o]; null: in order
    const int32_t* seen;                    // output o sees its first seen[o] inputs, no fewer than output o - 1; null: all
};

enum class Direction { forward, inverse, gradient };

constexpr int64_t few = 4;  // inputs, up to which sums over rows are faster one by one

// A layer, with what is computed once per call. Masked or permuted weights are copied into order; others are read in place.
template <class T> struct PackedLayer {
    const Layer* layer;
    int64_t in, out, stride;     // stride: inputs in whole vectors, for sums over rows
    std::vector<int64_t> depth;  // how many inputs each panel of outputs sees
    std::vector<int64_t> first;  // the first output that sees some input of each panel of inputs
    std::vector<T> ordered;      // (out, in); empty where the weights are read in place
    std::vector<T> ordered_bias;

    PackedLayer(const Layer& described, Direction direction)
        : layer(&described), in(described.in), out(described.out), stride(round_up(in, Vector<T>::lanes)) {
        for (int64_t o = 0; o < out; o += panel) depth.push_back(seen(std::min(out, o + panel) - 1));
        for (int64_t k = 0, o = 0; direction == Direction::gradient && k < in; k += panel) {
            while (o < out && seen(o) <= k) ++o;
            first.push_back(o);
        }
        if (layer->columns || layer->rows || layer->seen) put_in_order();
    }

    int64_t row(int64_t o) const { return layer->rows ? layer->rows[o] : o; }
    int64_t column(int64_t k) const { return layer->columns ? layer->columns[k] : k; }
    int64_t seen(int64_t o) const { return layer->seen ? layer->seen[o] : in; }
    int64_t gradient_size() const { return round_up(out, panel) * (stride + 1); }
    const T* weights() const { return ordered.empty() ? static_cast<const T*>(layer->weight) : ordered.data(); }
    const T* bias() const { return ordered_bias.empty() ? static_cast<const T*>(layer->bias) : ordered_bias.data(); }
    const T* bias(int64_t o) const { return bias() ? bias() + o : nullptr; }

    void put_in_order() {
        ordered.resize(out * in);
        ordered_bias.resize(layer->bias ? out : 0);
        for (int64_t o = 0; o < out; ++o) {
            const T* weights = static_cast<const T*>(layer->weight) + row(o) * in;
            T* to = &ordered[o * in];
            if (!layer->columns) std::copy_n(weights, seen(o), to);
            for (int64_t k = 0; layer->columns && k < seen(o); ++k) to[k] = weights[column(k)];
            if (layer->bias) ordered_bias[o] = static_cast<const T*>(layer->bias)[row(o)];
        }
    }

    // y = W x + b, for the first rows of the tile
    void apply(const T* x, T* y, int rows) const {
        if (rows == 1) return apply_to_one(x, y, 0, out);
        for (int64_t o = 0; o < out; o += panel) {
            multiply<T>(out - o, {weights() + o * in, 1, in}, depth[o / panel], x, bias(o), y + o * tile_rows, rows);
        }
    }

    // The outputs [start, end) alone; of x, only what they see needs to be known.
    void apply_some(const T* x, T* y, int64_t start, int64_t end, int rows) const {
        if (rows == 1) return apply_to_one(x, y, start, end);
        for (int64_t o = start; o < end; o += panel) {
            const int64_t count = std::min<int64_t>(end - o, panel);
            multiply<T>(count, {weights() + o * in, 1, in}, seen(o + count - 1), x, bias(o), y + o * tile_rows, rows);
        }
    }

    // The same for one row of data. Outputs that do not see all that the last one does have zeros there.
    void apply_to_one(const T* x, T* y, int64_t start, int64_t end) const {
        if (start == end) return;
        const int64_t depth = seen(end - 1);
        std::vector<T> one(depth);
        for (int64_t k = 0; k < depth; ++k) one[k] = *at(x, k);
        multiply_row<T>(end - start, weights() + start * in, in, depth, one.data(), bias(start), at(y, start));
    }

    // g_x = W^T g_y
    void apply_transposed(const T* g_y, T* g_x) const {
        for (int64_t k = 0; k < in; k += panel) {
            const int64_t o = first[k / panel];
            const Panel<T> weights_here{weights() + o * in + k, in, 1};
            multiply<T>(in - k, weights_here, out - o, g_y + o * tile_rows, nullptr, g_x + k * tile_rows);
        }
    }

    // sums += g_y x^T, and g_y summed over the rows behind it, for the bias; x_blocks is room for x row by row.
    void add_gradient(const T* x, const T* g_y, T* x_blocks, T* sums, bool with_bias = true) const {
        constexpr int L = Vector<T>::lanes, V = vectors_at_once;
        if (!layer->weight_gradient && !layer->bias_gradient) return;
        if (with_bias) add_dot_products<T>(out, g_y, nullptr, 1, sums + round_up(out, panel) * stride);
        if (in <= few) {
            for (int64_t k = 0; k < in; ++k) add_dot_products<T>(out, g_y, at(x, k), stride, sums + k);
            return;
        }
        to_blocks<T>(x, in, x_blocks);
        // A block of inputs stays in the innermost cache while all outputs that see it pass by.
        for (int64_t begin = 0; begin < in; begin += V * L, x_blocks += V * L * tile_rows) {
            for (int64_t p = 0; p < int64_t(depth.size()); ++p) {
                const T* g = g_y + p * panel * tile_rows;
                T* w = sums + p * panel * stride + begin;
                if (begin + (V - 1) * L < depth[p]) {
                    add_outer_products<T, V>(g, x_blocks, stride, w);
                } else {
                    for (int64_t k = 0; begin + k < depth[p]; k += L) add_outer_products<T, 1>(g, x_blocks + k, stride, w + k);
                }
            }
        }
    }

    // Add the sums of all workers to what Python has; what is not seen has no gradient.
    void write_gradient(const std::vector<T*>& sums) const {
        T *const to = static_cast<T*>(layer->weight_gradient), *const to_bias = static_cast<T*>(layer->bias_gradient);
        for (const T* part : sums) {
            for (int64_t o = 0; to && o < out; ++o) {
                T* to_row = to + row(o) * in;
                if (!layer->columns) add_row(part + o * stride, seen(o), to_row);
                for (int64_t k = 0; layer->columns && k < seen(o); ++k) to_row[column(k)] += part[o * stride + k];
            }
            for (int64_t o = 0; to_bias && o < out; ++o) to_bias[row(o)] += part[round_up(out, panel) * stride + o];
        }
    }

    static void add_row(const T* from, int64_t count, T* to) {
        for (int64_t k = 0; k < count; ++k) to[k] += from[k];
    }
};

template <class T> BIJECTA_INLINE void rectify(T* h, int64_t features) {
    for (int64_t i = 0; i < features * tile_rows; i += Vector<T>::lanes) {
        const Vec<T> v = load(h + i);
        store(h + i, v < T(0) ? Vec<T>{} : v);  // NaN stays
    }
}

// The gradient passes where the unit was on.
template <class T> BIJECTA_INLINE void rectify_gradient(const T* h, T* g, int64_t features) {
    for (int64_t i = 0; i < features * tile_rows; i += Vector<T>::lanes) {
        const Vec<T> v = load(h + i);
        store(g + i, v > T(0) ? load(g + i) : Vec<T>{});
    }
}

// Layers behind each other. Activations lie behind each other too: the inputs, every hidden layer, the outputs.
template <class T> struct Network {
    std::vector<PackedLayer<T>> layers;

    Network(const Layer* described, int count, Direction direction) {
        for (int l = 0; l < count; ++l) layers.emplace_back(described[l], direction);
    }

    // Whole panels, since products write whole panels.
    static int64_t room(int64_t features) { return round_up(features, panel) * tile_rows; }

    int64_t activations() const {
        int64_t total = room(layers[0].in);
        for (const auto& layer : layers) total += room(layer.out);
        return total;
    }

    int64_t widest() const {
        int64_t most = layers[0].in;
        for (const auto& layer : layers) most = std::max({most, layer.in, layer.out});
        return most;
    }

    T* outputs(T* activation) const { return activation + activations() - room(layers.back().out); }

    void apply(T* activation, int rows) {
        for (size_t l = 0; l < layers.size(); ++l) {
            T* next = activation + room(layers[l].in);
            layers[l].apply(activation, next, rows);
            if (l + 1 < layers.size()) rectify(next, layers[l].out);
            activation = next;
        }
    }

    int64_t gradient_size() const {
        int64_t total = 0;
        for (const auto& layer : layers) total += layer.gradient_size();
        return total;
    }

    // `g` holds the gradient of the outputs and ends with that of the inputs (if wanted); `other` and `blocks` are room.
    T* differentiate(T* activation, T* g, T* other, T* blocks, T* sums, bool inputs_wanted) {
        T* output = outputs(activation);
        sums += gradient_size();
        for (size_t l = layers.size(); l-- > 0;) {
            T* input = output - room(layers[l].in);
            sums -= layers[l].gradient_size();
            layers[l].add_gradient(input, g, blocks, sums);
            if (l == 0 && !inputs_wanted) break;
            layers[l].apply_transposed(g, other);
            if (l > 0) rectify_gradient(input, other, layers[l].in);
            std::swap(g, other);
            output = input;
        }
        return g;
    }

    void write_gradient(std::vector<T*> sums) const {
        for (const auto& layer : layers) {
            layer.write_gradient(sums);
            for (T*& part : sums) part += layer.gradient_size();
        }
    }
};

}  // namespace bijecta
