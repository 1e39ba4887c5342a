// A smooth perceptron and what a change of its inputs does to its outputs: a velocity field and its divergence.
//
// Values and tangents of a tile of rows are a stack of tiles, which passes through all layers while it is in the cache. The
// plain operations in src/bijecta/functional/tangents.py define what is computed. Nothing is kept for the gradient: going
// through the layers again costs less than memory does.

#include "elementary.hpp"
#include "network.hpp"
#include "parallel.hpp"

namespace bijecta {

enum { tanh_kind, silu_kind, softplus_kind };

// As Python describes it with ctypes.
struct Perceptron {
    const Layer* layers;
    int64_t n_layers, rows, moved, probes;  // a probe moves the first inputs, so many
    int64_t next_probe, next_row;           // distances in memory: of probes, and of one probe's rows
    int64_t activation, threads;
};

// An activation with two derivatives.
template <class T> struct Smooth {
    Vec<T> value, slope, bend;
};

template <class T> BIJECTA_INLINE Vec<T> sigmoid(Vec<T> a) { return T(1) / (T(1) + exp<T>(-a)); }

template <class T, int kind> BIJECTA_INLINE Smooth<T> smooth(Vec<T> a) {
    if constexpr (kind == tanh_kind) {
        const Tanh<T> t = tanh<T>(a);
        return {t.value, t.derivative, T(-2) * t.value * t.derivative};
    }
    const Vec<T> gate = sigmoid<T>(a), width = gate * (T(1) - gate);
    if constexpr (kind == silu_kind) return {a * gate, gate + a * width, width * (T(2) + a * (T(1) - T(2) * gate))};
    // log(1 + q), also where 1 + q has lost digits of q.
    const Vec<T> q = exp<T>(-absolute<T>(a)), sum = T(1) + q, kept = sum - T(1);
    const Vec<T> logarithm = kept == T(0) ? q : log<T>(sum) * q / kept;
    return {(a > T(0) ? a : Vec<T>{}) + logarithm, gate, width};
}

template <class T, int kind> struct Tangents {
    const Perceptron& net;
    const int64_t stack;  // the values, then every tangent
    std::vector<PackedLayer<T>> layers;
    int64_t widest = 0, sums = 0;

    Tangents(const Perceptron& described, Direction direction) : net(described), stack(1 + described.probes) {
        for (int64_t l = 0; l < net.n_layers; ++l) {
            layers.emplace_back(net.layers[l], direction);
            widest = std::max({widest, layers[l].in, layers[l].out});
            sums += layers[l].gradient_size();
        }
    }

    int64_t room() const { return round_up(widest, panel) * tile_rows; }  // of one tile, as wide as it may be
    int64_t tiles() const { return (net.rows + tile_rows - 1) / tile_rows; }
    int64_t workers() const { return std::max<int64_t>(1, std::min(tiles(), net.threads)); }

    // Call work(worker, first row, rows) for every tile of a worker.
    template <class Work> void for_tiles(int64_t worker, const Work& work) const {
        for (int64_t begin = worker * tile_rows; begin < net.rows; begin += workers() * tile_rows) {
            work(begin, std::min<int64_t>(tile_rows, net.rows - begin));
        }
    }

    void read(const T* inputs, const T* probes, int64_t begin, int64_t rows, T* to) const {
        read_tile(inputs, begin, rows, layers[0].in, to);
        for (int64_t k = 0; k < net.probes; ++k) {
            to += room();
            std::fill_n(to, layers[0].in * tile_rows, T(0));
            const T* from = probes + k * net.next_probe + begin * net.next_row;
            for (int64_t i = 0; i < net.moved; ++i) {
                for (int64_t r = 0; r < rows; ++r) at(to, i)[r] = from[r * net.next_row + i];
            }
        }
    }

    void apply(const PackedLayer<T>& layer, const T* x, T* y, int rows) const {
        for (int64_t s = 0; s < stack; ++s, x += room(), y += room()) {
            for (int64_t o = 0; o < layer.out; o += panel) {
                const Panel<T> weights{layer.weights() + o * layer.in, 1, layer.in};
                multiply<T>(layer.out - o, weights, layer.in, x, s ? nullptr : layer.bias(o), y + o * tile_rows, rows);
            }
        }
    }

    // From (a, p) to (h, t), perhaps in the same place.
    void activate(const T* before, T* after, int64_t features, int rows) const {
        for (int64_t o = 0; o < features; ++o) {
            for (int r = 0; r < rows; r += Vector<T>::lanes) {
                const int64_t i = o * tile_rows + r;
                const Smooth<T> phi = smooth<T, kind>(load(before + i));
                for (int64_t s = 1; s < stack; ++s) store(after + s * room() + i, phi.slope * load(before + s * room() + i));
                store(after + i, phi.value);
            }
        }
    }

    // From gradients of (h, t) to those of (a, p).
    void deactivate(const T* before, T* g, int64_t features) const {
        for (int64_t i = 0; i < features * tile_rows; i += Vector<T>::lanes) {
            const Smooth<T> phi = smooth<T, kind>(load(before + i));
            Vec<T> sum{};
            for (int64_t s = 1; s < stack; ++s) {
                T* g_tangent = g + s * room() + i;
                sum += load(g_tangent) * load(before + s * room() + i);
                store(g_tangent, phi.slope * load(g_tangent));
            }
            store(g + i, phi.slope * load(g + i) + phi.bend * sum);
        }
    }

    // `places`: the inputs, then (a, p) and (h, t) of every hidden layer (or both in one place), then the outputs.
    T* forward(T* x, int rows, bool keep) const {
        const int64_t size = stack * room();
        for (size_t l = 0; l < layers.size(); ++l) {
            T* y = x + size;
            apply(layers[l], x, y, rows);
            if (l + 1 == layers.size()) return y;
            x = keep ? y + size : y;
            activate(y, x, layers[l].out, rows);
        }
        return x;
    }

    // `x` holds what `forward` kept, `g` and `other` a gradient each; returns where the gradient of the inputs is.
    T* backward(const T* x, T* g, T* other, T* blocks, T* sum, bool inputs_wanted) const {
        const int64_t size = stack * room();
        x += 2 * size * (int64_t(layers.size()) - 1);
        sum += sums;
        for (size_t l = layers.size(); l-- > 0; x -= 2 * size) {
            sum -= layers[l].gradient_size();
            for (int64_t s = 0; s < stack; ++s) layers[l].add_gradient(x + s * room(), g + s * room(), blocks, sum, s == 0);
            if (l == 0 && !inputs_wanted) break;
            for (int64_t s = 0; s < (l ? stack : 1); ++s) layers[l].apply_transposed(g + s * room(), other + s * room());
            if (l) deactivate(x - size, other, layers[l].in);
            std::swap(g, other);
        }
        return g;
    }
};

template <class T, int kind> void map(const Perceptron& net, const T* inputs, const T* probes, T* values, T* products) {
    const Tangents<T, kind> tangents(net, Direction::forward);
    const int64_t outputs = tangents.layers.back().out;
    parallel_workers(tangents.workers(), [&](int64_t worker) {
        Aligned<T> places((net.n_layers + 1) * tangents.stack * tangents.room());
        tangents.for_tiles(worker, [&](int64_t begin, int64_t rows) {
            tangents.read(inputs, probes, begin, rows, places.data());
            const T* y = tangents.forward(places.data(), int(rows), false);
            write_tile(values, begin, rows, outputs, y);
            for (int64_t k = 0; k < net.probes; ++k) {
                write_tile(products + k * net.rows * outputs, begin, rows, outputs, y + (k + 1) * tangents.room());
            }
        });
    });
}

// Gradients of sum(g_values values) + sum(g_products products): those of weights are added to what is there.
template <class T, int kind>
void gradient(const Perceptron& net, const T* inputs, const T* probes, const T* g_values, const T* g_products, T* g_inputs) {
    const Tangents<T, kind> tangents(net, Direction::gradient);
    const int64_t outputs = tangents.layers.back().out, size = tangents.stack * tangents.room();
    std::vector<Aligned<T>> sums(tangents.workers());
    parallel_workers(tangents.workers(), [&](int64_t worker) {
        Aligned<T> places((2 * net.n_layers + 2) * size), blocks(block_room<T>(tangents.widest));
        T *g = places.data() + 2 * net.n_layers * size, *other = g + size;
        sums[worker] = Aligned<T>(tangents.sums);
        tangents.for_tiles(worker, [&](int64_t begin, int64_t rows) {
            tangents.read(inputs, probes, begin, rows, places.data());
            tangents.forward(places.data(), tile_rows, true);
            read_tile(g_values, begin, rows, outputs, g);
            for (int64_t k = 0; k < net.probes; ++k) {
                const T* from = g_products ? g_products + k * net.rows * outputs : nullptr;
                read_tile(from, begin, rows, outputs, g + (k + 1) * tangents.room());
            }
            const T* g_x = tangents.backward(places.data(), g, other, blocks.data(), sums[worker].data(), g_inputs);
            if (g_inputs) write_tile(g_inputs, begin, rows, tangents.layers[0].in, g_x);
        });
    });
    std::vector<T*> parts;
    for (auto& part : sums) parts.push_back(part.data());
    for (const auto& layer : tangents.layers) {
        layer.write_gradient(parts);
        for (T*& part : parts) part += layer.gradient_size();
    }
}

template <class Call> void with_kind(const Perceptron& net, const Call& call) {
    switch (net.activation) {
        case tanh_kind: return call(std::integral_constant<int, tanh_kind>());
        case silu_kind: return call(std::integral_constant<int, silu_kind>());
        default: return call(std::integral_constant<int, softplus_kind>());
    }
}

}  // namespace bijecta

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

#define BIJECTA_TANGENTS(T)                                                                                            \
    BIJECTA_EXPORT void tangents_##T(const bijecta::Perceptron* net, const T* inputs, const T* probes, T* values,      \
                                     T* products) {                                                                    \
        const auto call = [&](auto kind) { bijecta::map<T, decltype(kind)::value>(*net, inputs, probes, values, products); }; \
        bijecta::with_kind(*net, call);                                                                                \
    }                                                                                                                  \
    BIJECTA_EXPORT void tangents_gradient_##T(const bijecta::Perceptron* net, const T* inputs, const T* probes,        \
                                              const T* g_values, const T* g_products, T* g_inputs) {                   \
        const auto call = [&](auto kind) {                                                                             \
            bijecta::gradient<T, decltype(kind)::value>(*net, inputs, probes, g_values, g_products, g_inputs);         \
        };                                                                                                             \
        bijecta::with_kind(*net, call);                                                                                \
    }

BIJECTA_TANGENTS(float)
BIJECTA_TANGENTS(double)
