// A whole chain of layers in one call: each tile of rows passes through all of them while it is in the cache.
//
// Python describes the chain as a `Program` of steps (src/bijecta/functional/kernels/flow.py); the layers in
// src/bijecta/bijections define what a step computes. Workers take tiles in turn, always the same ones, and their sums of
// gradients are added in order: results do not depend on which thread was faster.

#include <memory>
#include <utility>

#include "network.hpp"
#include "parallel.hpp"
#include "spline.hpp"

namespace bijecta {

enum Kind : int32_t { standardise, act_norm, matrix, lu, permute, conditioned };
enum Map : int32_t { additive, affine, spline };

// An affine layer; `weight` and `bias` are numbers of tensors, -1 where there is none. The rest as in `Layer`.
struct LayerOf {
    int64_t in, out;
    int32_t weight, bias;
    const int32_t *columns, *rows, *seen;
};

struct Step {
    int32_t kind, map, autoregressive;
    int32_t n_inputs, n_transformed, n_layers;
    const int32_t* inputs;       // what the network sees: a feature, or features + a column of the context; or the permutation
    const int32_t* transformed;  // the features that are mapped, in the order of the network's outputs
    const LayerOf* layers;
    int32_t tensors[4];  // standardise: mean, scale; act_norm: bias, log-scale; matrix; lu: lower, upper, log-diagonal, bias
    double log_scale_limit;
    Spline spline;
};

struct Program {
    const Step* steps;
    int64_t n_steps, features, contexts, rows, threads;
    int64_t first;  // gradients are wanted from this step on
    const void* const* tensors;
    void* const* gradients;  // one for every tensor, null where not wanted

    const void* tensor(int32_t number) const { return number < 0 ? nullptr : tensors[number]; }
    void* gradient(int32_t number) const { return number < 0 || !gradients ? nullptr : gradients[number]; }
};

// --- maps of one number whose parameters a network gives ---------------------------------------------------------------

template <class T> struct AdditiveMap {
    static constexpr int parameters = 1;
    explicit AdditiveMap(const Step&, int64_t) {}

    template <bool inverse> Image<T> map(const T* params, Vec<T> x) {
        return {inverse ? x - load(params) : x + load(params), Vec<T>{}};
    }
    Vec<T> differentiate(const T*, Vec<T>, Vec<T> g, Vec<T>, T* g_params) {
        store(g_params, g);
        return g;
    }
};

template <class T> struct AffineMap {
    static constexpr int parameters = 2;
    const T limit;
    explicit AffineMap(const Step& step, int64_t) : limit(T(step.log_scale_limit)) {}

    template <bool inverse> Image<T> map(const T* params, Vec<T> x) {
        const Vec<T> shift = load(params), s = limit * tanh<T>(load(params + tile_rows) / limit).value;
        if constexpr (inverse) return {(x - shift) * exp<T>(-s), -s};
        return {x * exp<T>(s) + shift, s};
    }
    Vec<T> differentiate(const T* params, Vec<T> x, Vec<T> g, Vec<T> g_ladj, T* g_params) {
        const Tanh<T> t = tanh<T>(load(params + tile_rows) / limit);
        const Vec<T> scale = exp<T>(limit * t.value);
        store(g_params, g);
        store(g_params + tile_rows, (g * x * scale + g_ladj) * t.derivative);
        return g * scale;
    }
};

template <class T, int K> struct SplineMap {
    Kernel<T, K> kernel;
    Columns<T> columns;
    const int parameters;
    SplineMap(const Step& step, int64_t number)
        : kernel{Settings<T>(step.spline)}, columns(step.spline), parameters(kernel.parameters()) {
        columns.spread(number);
    }

    void read(const T* params) {
        for (int j = 0; j < parameters; ++j) kernel.tile[j] = load(params + j * tile_rows);
    }
    template <bool inverse> Image<T> map(const T* params, Vec<T> x) {
        read(params);
        return map_vector<inverse>(kernel, columns, x);
    }
    Vec<T> differentiate(const T* params, Vec<T> x, Vec<T> g, Vec<T> g_ladj, T* g_params) {
        read(params);
        const Vec<T> g_x = differentiate_vector<false>(kernel, columns, x, g, g_ladj);
        for (int j = 0; j < parameters; ++j) store(g_params + j * tile_rows, kernel.tile[j]);
        return g_x;
    }
};

// Call with the type of the map.
template <class T, class Call> void with_map(const Step& step, const Call& call) {
    if (step.map == additive) return call(static_cast<AdditiveMap<T>*>(nullptr));
    if (step.map == affine) return call(static_cast<AffineMap<T>*>(nullptr));
    switch (step.spline.bins) {
        case 8: return call(static_cast<SplineMap<T, 8>*>(nullptr));
        case 16: return call(static_cast<SplineMap<T, 16>*>(nullptr));
        default: return call(static_cast<SplineMap<T, 0>*>(nullptr));
    }
}

// Map a feature of the first rows in place, and add to their ladj.
template <class T, bool inverse, class Map> void map_feature(Map& map, const T* params, T* x, T* ladj, int rows) {
    for (int r = 0; r < rows; r += Vector<T>::lanes) {
        const Image<T> image = map.template map<inverse>(params + r, load(x + r));
        store(x + r, image.y);
        store(ladj + r, load(ladj + r) + image.ladj);
    }
}

template <class T, class Map> void differentiate_feature(Map& map, const T* params, const T* x, T* g, const T* g_ladj, T* g_params) {
    for (int r = 0; r < tile_rows; r += Vector<T>::lanes) {
        store(g + r, map.differentiate(params + r, load(x + r), load(g + r), load(g_ladj + r), g_params + r));
    }
}

// --- steps ---------------------------------------------------------------------------------------------------------------

// What a tile is worked on with. `state` and `g` have room for whole panels.
template <class T> struct Tile {
    T *state, *context, *ladj;         // features, context columns, one row
    T *g, *g_context, *g_ladj;         // and their gradients
    T *room, *other, *blocks;          // for whatever a step needs
    int rows = tile_rows;              // products leave the others out, where nothing is kept for a gradient
};

// The factors of an LU step, multiplied once per call: M = P L U.
template <class T> struct Factors {
    int64_t n;
    std::vector<T> lower, upper, product;  // row by row; L without its diagonal of ones
    Layer layer{};
    std::vector<T> gradient, bias_gradient;

    Factors(const Program& program, const Step& step)
        : n(program.features), lower(n * n), upper(n * n), product(n * n) {
        const auto value = [&](int number) { return static_cast<const T*>(program.tensor(step.tensors[number])); };
        const T *l = value(0), *u = value(1), *d = value(2);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < i; ++j) lower[i * n + j] = l[i * n + j];
            upper[i * n + i] = std::exp(d[i]);
            for (int64_t j = i + 1; j < n; ++j) upper[i * n + j] = u[i * n + j];
        }
        for (int64_t o = 0; o < n; ++o) {
            const int64_t i = step.inputs[o];
            T* to = &product[o * n];
            std::copy_n(&upper[i * n], n, to);
            for (int64_t k = 0; k < i; ++k) {
                for (int64_t j = k; j < n; ++j) to[j] += lower[i * n + k] * upper[k * n + j];
            }
        }
        layer.in = layer.out = n;
        layer.weight = product.data();
        layer.bias = value(3);
    }

    void want_gradient() {
        gradient.resize(n * n), bias_gradient.resize(n);
        layer.weight_gradient = gradient.data(), layer.bias_gradient = bias_gradient.data();
    }

    // dL = dA U^T below the diagonal, dU = L^T dA above it and on it, with A = L U = P^T M; g_ladj summed over rows.
    void write_gradient(const Program& program, const Step& step, T g_ladj) const {
        const auto to = [&](int number) { return static_cast<T*>(program.gradient(step.tensors[number])); };
        T *to_lower = to(0), *to_upper = to(1), *to_diagonal = to(2), *to_bias = to(3);
        std::vector<T> sums(n * n);
        for (int64_t o = 0; o < n; ++o) to_bias[o] += bias_gradient[o];
        for (int64_t o = 0; o < n; ++o) {
            const int64_t i = step.inputs[o];
            const T* g = &gradient[o * n];
            for (int64_t j = 0; j < i; ++j) {
                for (int64_t k = j; k < n; ++k) to_lower[i * n + j] += g[k] * upper[j * n + k];
            }
            for (int64_t k = 0; k <= i; ++k) {
                const T weight = k == i ? T(1) : lower[i * n + k];
                for (int64_t j = k; j < n; ++j) sums[k * n + j] += weight * g[j];
            }
        }
        for (int64_t i = 0; i < n; ++i) {
            to_diagonal[i] += sums[i * n + i] * upper[i * n + i] + g_ladj;
            for (int64_t j = i + 1; j < n; ++j) to_upper[i * n + j] += sums[i * n + j];
        }
    }

    void invert(const Step& step, T* x, T* room) const {
        const T* bias = static_cast<const T*>(layer.bias);
        for (int64_t o = 0; o < n; ++o) {
            const T *from = at(x, o);
            T* to = at(room, step.inputs[o]);
            for (int r = 0; r < tile_rows; ++r) to[r] = from[r] - bias[o];
        }
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < i; ++j) subtract(at(room, i), at(room, j), lower[i * n + j]);
        }
        for (int64_t i = n; i-- > 0;) {
            for (int64_t j = i + 1; j < n; ++j) subtract(at(room, i), at(room, j), upper[i * n + j]);
            for (int r = 0; r < tile_rows; ++r) at(room, i)[r] /= upper[i * n + i];
        }
        std::copy_n(room, n * tile_rows, x);
    }

    static void subtract(T* from, const T* what, T factor) {
        for (int r = 0; r < tile_rows; ++r) from[r] -= factor * what[r];
    }
};

template <class T> inline T sum_of(const T* values, int64_t count) {
    T total = 0;
    for (int64_t i = 0; i < count; ++i) total += values[i];
    return total;
}

template <class T> inline void add_to_all(T* row, T value) {
    for (int r = 0; r < tile_rows; ++r) row[r] += value;
}

// How much the forward pass keeps of a tile for the gradient: what the network computed, and what was mapped.
inline int64_t kept(const Step& step, int64_t features) {
    if (step.kind == act_norm) return features * tile_rows;
    if (step.kind == matrix || step.kind == lu) return 2 * round_up(features, panel) * tile_rows;
    if (step.kind != conditioned) return 0;
    int64_t rows = round_up(step.layers[0].in, panel) + step.n_transformed;
    for (int l = 0; l < step.n_layers; ++l) rows += round_up(step.layers[l].out, panel);
    return rows * tile_rows;
}

// A step with everything that is computed once per call.
template <class T> struct Prepared {
    const Program& program;
    const Step& step;
    const int64_t features;
    std::unique_ptr<Factors<T>> factors;
    std::vector<Layer> layers;
    std::unique_ptr<Network<T>> network;
    T ladj = 0;  // of steps whose Jacobian is the same everywhere

    Prepared(const Program& whole, const Step& described, Direction direction)
        : program(whole), step(described), features(whole.features) {
        const T *first = value(0), *second = value(1);
        if (step.kind == standardise) for (int64_t i = 0; i < features; ++i) ladj -= std::log(second[i]);
        if (step.kind == act_norm) ladj = sum_of(second, features);
        if (step.kind == matrix) {
            for (int64_t i = 0; i < features; ++i) ladj += std::log(first[i * features + i]);
            layers.push_back({features, features, first, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr});
        }
        if (step.kind == lu) {
            ladj = sum_of(value(2), features);
            factors = std::make_unique<Factors<T>>(program, step);
            if (direction == Direction::gradient) factors->want_gradient();
            layers.push_back(factors->layer);
        }
        for (int l = 0; step.kind == conditioned && l < step.n_layers; ++l) {
            const LayerOf& of = step.layers[l];
            layers.push_back({of.in, of.out, program.tensor(of.weight), program.tensor(of.bias), program.gradient(of.weight),
                              program.gradient(of.bias), of.columns, of.rows, of.seen});
        }
        if (!layers.empty()) network = std::make_unique<Network<T>>(layers.data(), int(layers.size()), direction);
    }

    const T* value(int number) const { return static_cast<const T*>(program.tensor(step.tensors[number])); }

    // Sums over the rows: those of the network, or of bias and log-scale; and one of g_ladj.
    int64_t gradient_size() const { return (network ? network->gradient_size() : 0) + (step.kind == act_norm ? 2 * features : 0) + 1; }

    int64_t widest() const { return std::max<int64_t>(features, network ? network->widest() : 0); }

    void forward(const Tile<T>& tile, T* keep) {
        T* x = tile.state;
        if (step.kind == standardise) scale_rows(x, [&](int64_t i, T v) { return (v - value(0)[i]) / value(1)[i]; });
        if (step.kind == act_norm) {
            std::vector<T> scale(features);
            for (int64_t i = 0; i < features; ++i) scale[i] = std::exp(value(1)[i]);
            scale_rows(x, [&](int64_t i, T v) { return scale[i] * (v + value(0)[i]); });
            std::copy_n(x, features * tile_rows, keep);
        }
        if (step.kind == permute) reorder(x, tile.room, false);
        if (step.kind == matrix || step.kind == lu) {
            std::copy_n(x, features * tile_rows, keep);
            network->apply(keep, tile.rows);
            std::copy_n(network->outputs(keep), features * tile_rows, x);
        }
        if (step.kind == conditioned) return map_conditioned<false>(tile, keep);
        add_to_all(tile.ladj, ladj);
    }

    void inverse(const Tile<T>& tile, T* activation) {
        T* x = tile.state;
        if (step.kind == standardise) scale_rows(x, [&](int64_t i, T v) { return v * value(1)[i] + value(0)[i]; });
        if (step.kind == act_norm) {
            std::vector<T> scale(features);
            for (int64_t i = 0; i < features; ++i) scale[i] = std::exp(-value(1)[i]);
            scale_rows(x, [&](int64_t i, T v) { return v * scale[i] - value(0)[i]; });
        }
        if (step.kind == permute) reorder(x, tile.room, true);
        if (step.kind == matrix) solve_lower(x);
        if (step.kind == lu) factors->invert(step, x, tile.room);
        if (step.kind == conditioned) {
            if (step.autoregressive) return solve(tile, activation);
            return map_conditioned<true>(tile, activation);
        }
        add_to_all(tile.ladj, -ladj);
    }

    template <class Change> void scale_rows(T* x, const Change& change) const {
        for (int64_t i = 0; i < features; ++i) {
            for (int r = 0; r < tile_rows; ++r) at(x, i)[r] = change(i, at(x, i)[r]);
        }
    }

    void reorder(T* x, T* room, bool back) const {
        std::copy_n(x, features * tile_rows, room);
        for (int64_t i = 0; i < features; ++i) {
            const int64_t j = step.inputs[i];
            std::copy_n(at(room, back ? i : j), tile_rows, at(x, back ? j : i));
        }
    }

    void solve_lower(T* x) const {
        const T* L = value(0);
        for (int64_t i = 0; i < features; ++i) {
            for (int64_t j = 0; j < i; ++j) Factors<T>::subtract(at(x, i), at(x, j), L[i * features + j]);
            for (int r = 0; r < tile_rows; ++r) at(x, i)[r] /= L[i * features + i];
        }
    }

    // The rows of the state or the context that the network sees.
    T* source(T* state, T* context, int64_t input) const {
        return input < features ? at(state, input) : at(context, input - features);
    }

    template <bool inverse> void map_conditioned(const Tile<T>& tile, T* keep) {
        for (int k = 0; k < step.n_inputs; ++k) {
            std::copy_n(source(tile.state, tile.context, step.inputs[k]), tile_rows, at(keep, k));
        }
        network->apply(keep, tile.rows);
        T* mapped = keep + network->activations();
        const T* params = network->outputs(keep);
        with_map<T>(step, [&](auto* type) {
            using Map = std::remove_pointer_t<decltype(type)>;
            for (int t = 0; t < step.n_transformed; ++t) {
                Map map(step, t);
                T* x = at(tile.state, step.transformed[t]);
                if constexpr (!inverse) std::copy_n(x, tile_rows, at(mapped, t));
                map_feature<T, inverse>(map, at(params, t * map.parameters), x, tile.ladj, tile.rows);
            }
        });
    }

    // Invert an autoregressive step: each unit is evaluated once, when all that it sees is known.
    void solve(const Tile<T>& tile, T* activation) {
        std::vector<int64_t> done(step.n_layers, 0);
        int64_t known = 0;
        for (; known < step.n_inputs && step.inputs[known] >= features; ++known) {
            std::copy_n(source(tile.state, tile.context, step.inputs[known]), tile_rows, at(activation, known));
        }
        with_map<T>(step, [&](auto* type) {
            using Map = std::remove_pointer_t<decltype(type)>;
            for (int t = 0; t < step.n_transformed; ++t) {
                Map map(step, t);
                T* params = extend(activation, known, done, (t + 1) * map.parameters, tile.rows) + t * map.parameters * tile_rows;
                T* x = at(tile.state, step.transformed[t]);
                map_feature<T, true>(map, params, x, tile.ladj, tile.rows);
                std::copy_n(x, tile_rows, at(activation, known++));
            }
        });
    }

    // Evaluate every unit that sees known inputs only, but of the outputs no more than `outputs`; returns the outputs.
    T* extend(T* activation, int64_t known, std::vector<int64_t>& done, int64_t outputs, int rows) {
        for (int l = 0; l < step.n_layers; ++l) {
            PackedLayer<T>& layer = network->layers[l];
            T* next = activation + Network<T>::room(layer.in);
            const bool last = l + 1 == step.n_layers;
            int64_t end = done[l];
            while (end < (last ? outputs : layer.out) && layer.seen(end) <= known) ++end;
            layer.apply_some(activation, next, done[l], end, rows);
            if (!last) rectify(at(next, done[l]), end - done[l]);
            known = done[l] = end;
            activation = next;
        }
        return activation;
    }

    // The gradient passes the step backwards; sums over the rows are added to `sums`. Consumes tile.g and leaves it anew.
    void differentiate(const Tile<T>& tile, T* keep, T* sums, bool inputs_wanted) {
        sums[gradient_size() - 1] += sum_of(tile.g_ladj, tile_rows);
        if (step.kind == standardise) scale_rows(tile.g, [&](int64_t i, T v) { return v / value(1)[i]; });
        if (step.kind == act_norm) differentiate_act_norm(tile, keep, sums);
        if (step.kind == permute) reorder(tile.g, tile.room, true);
        if (step.kind == matrix || step.kind == lu) {
            std::copy_n(tile.g, features * tile_rows, tile.room);
            const T* g = network->differentiate(keep, tile.room, tile.other, tile.blocks, sums, inputs_wanted);
            std::copy_n(g, features * tile_rows, tile.g);
        }
        if (step.kind == conditioned) differentiate_conditioned(tile, keep, sums, inputs_wanted);
    }

    void differentiate_act_norm(const Tile<T>& tile, const T* z, T* sums) const {
        for (int64_t i = 0; i < features; ++i) {
            const T scale = std::exp(value(1)[i]);
            for (int r = 0; r < tile_rows; ++r) {
                T& g = at(tile.g, i)[r];
                sums[features + i] += g * at(z, i)[r] + tile.g_ladj[r];
                g *= scale;
                sums[i] += g;
            }
        }
    }

    void differentiate_conditioned(const Tile<T>& tile, T* keep, T* sums, bool inputs_wanted) {
        const T *mapped = keep + network->activations(), *params = network->outputs(keep);
        with_map<T>(step, [&](auto* type) {
            using Map = std::remove_pointer_t<decltype(type)>;
            for (int t = 0; t < step.n_transformed; ++t) {
                Map map(step, t);
                const int64_t start = t * map.parameters;
                T* g = at(tile.g, step.transformed[t]);
                differentiate_feature<T>(map, at(params, start), at(mapped, t), g, tile.g_ladj, at(tile.room, start));
            }
        });
        const T* g = network->differentiate(keep, tile.room, tile.other, tile.blocks, sums, inputs_wanted);
        for (int k = 0; inputs_wanted && k < step.n_inputs; ++k) {
            T* to = source(tile.g, tile.g_context, step.inputs[k]);
            for (int r = 0; r < tile_rows; ++r) to[r] += at(g, k)[r];
        }
    }

    void write_gradient(const std::vector<T*>& sums) const {
        if (step.kind == conditioned || step.kind == lu) network->write_gradient(sums);
        if (step.kind == lu) {
            T total = 0;
            for (const T* part : sums) total += part[gradient_size() - 1];
            factors->write_gradient(program, step, total);
        }
        for (int64_t i = 0; step.kind == act_norm && i < 2 * features; ++i) {
            T total = 0;
            for (const T* part : sums) total += part[i];
            static_cast<T*>(program.gradient(step.tensors[i / features]))[i % features] += total;
        }
    }
};

// --- the whole chain -----------------------------------------------------------------------------------------------------

// Room for one worker and a group of tiles, zero at first: rows that are not there are computed on nevertheless. What is kept
// is written before it is read.
template <class T> struct Workshop {
    const int64_t worker;
    Aligned<T> storage, kept;
    std::vector<Tile<T>> tiles;
    Tile<T>& tile;  // the first one, for who takes one after the other

    Workshop(int64_t number, const Program& program, int64_t widest, bool with_gradient, int64_t keep, int64_t group)
        : worker(number), storage(size(program, widest, with_gradient, group)), kept(keep * group, Begin::anything), tiles(group), tile(tiles[0]) {
        T* next = storage.data();
        const auto take = [&](int64_t count) { return std::exchange(next, next + count); };
        const int64_t state = Network<T>::room(program.features), context = program.contexts * tile_rows;
        T *const room = take(Network<T>::room(widest)), *const other = take(Network<T>::room(widest));
        T* const blocks = with_gradient ? take(block_room<T>(widest)) : nullptr;
        for (Tile<T>& one : tiles) {
            one.room = room, one.other = other, one.blocks = blocks;
            one.state = take(state), one.context = take(context), one.ladj = take(tile_rows);
            if (with_gradient) one.g = take(state), one.g_context = take(context), one.g_ladj = take(tile_rows);
        }
    }

    static int64_t size(const Program& p, int64_t widest, bool with_gradient, int64_t group) {
        const int64_t tile = Network<T>::room(p.features) + (p.contexts + 1) * tile_rows;
        const int64_t blocks = with_gradient ? block_room<T>(widest) : 0;
        return group * tile * (with_gradient ? 2 : 1) + 2 * Network<T>::room(widest) + blocks;
    }

    // This worker's sums, behind the last one; made where they are used, since large ones take their time.
    T* room_for_sums(std::vector<Aligned<T>>& sums, int64_t count) const {
        if (sums[worker].empty()) sums[worker] = Aligned<T>(count);
        return sums[worker].data() + count;
    }
};

// The rows of one tile.
struct Rows {
    int64_t begin, count;
    Rows(const Program& program, int64_t tile)
        : begin(tile * tile_rows), count(std::min<int64_t>(tile_rows, program.rows - begin)) {}
};

template <class T> struct Chain {
    const Program& program;
    const int64_t from, first, workers;  // steps before `from` are left out, those before `first` have no gradient
    std::vector<std::unique_ptr<Prepared<T>>> steps;
    int64_t widest = 0, sums = 0;
    int64_t kept_before = 0, kept_here = 0, kept_most = 0;  // of a tile: by the steps left out, by these, by one of them

    Chain(const Program& described, Direction direction, int64_t start = 0)
        : program(described), from(start), first(direction == Direction::gradient ? program.first : 0),
          workers(std::max<int64_t>(1, std::min(tiles(), program.threads))), steps(program.n_steps - from) {
        const int64_t count = int64_t(steps.size());
        parallel_workers(std::min(workers, count), [&](int64_t worker) {
            for (int64_t s = worker; s < count; s += workers) {
                const Direction wanted = from + s < first ? Direction::forward : direction;
                steps[s] = std::make_unique<Prepared<T>>(program, program.steps[from + s], wanted);
            }
        });
        for (int64_t s = 0; s < from; ++s) kept_before += kept(program.steps[s], program.features);
        for (const auto& step : steps) {
            kept_here += kept(step->step, program.features);
            kept_most = std::max(kept_most, kept(step->step, program.features));
            widest = std::max(widest, step->widest());
        }
        for (int64_t s = first - from; s < count; ++s) sums += steps[s]->gradient_size();
    }

    int64_t tiles() const { return (program.rows + tile_rows - 1) / tile_rows; }

    // Call work(shop, first tile, tiles) for groups of tiles, which are `workers` apart; a worker has the same ones in every
    // run, and a shop of its own with room to keep so much of each.
    template <class Work> void for_groups(int64_t group, bool with_gradient, int64_t keep, const Work& work) {
        parallel_workers(workers, [&](int64_t worker) {
            Workshop<T> shop(worker, program, widest, with_gradient, keep, group);
            for (int64_t number = worker; number < tiles(); number += group * workers) {
                work(shop, number, std::min(group, (tiles() - number + workers - 1) / workers));
            }
        });
    }

    // Call work(shop, tile, first row, rows) for one tile after the other.
    template <class Work> void for_tiles(bool with_gradient, int64_t keep, const Work& work) {
        for_groups(1, with_gradient, keep, [&](Workshop<T>& shop, int64_t number, int64_t) {
            const Rows rows(program, number);
            work(shop, number, rows.begin, rows.count);
        });
    }

    // How many tiles to take through a step before the next one: several where the weights of all steps are more than the
    // cache of a core holds, so that they are read less often; one where they stay there, beside what is kept of a tile.
    int64_t group() const {
        constexpr int64_t cache = 7 << 18;
        return sums * int64_t(sizeof(T)) < cache ? 1 : std::min<int64_t>(8, (tiles() + workers - 1) / workers);
    }

    // Of tile i, `keep` + i * kept_here is kept for a gradient. Without one all steps share the room of the largest.
    void forward(const Tile<T>* tiles, int64_t count, T* keep, bool for_gradient = true) {
        for (auto& step : steps) {
            for (int64_t i = 0; i < count; ++i) step->forward(tiles[i], keep + i * kept_here);
            if (for_gradient) keep += kept(step->step, program.features);
        }
    }

    // `sum`, and `keep` of the first tile, are behind the last step's.
    void differentiate(const Tile<T>* tiles, int64_t count, T* keep, T* sum, bool inputs_wanted) {
        for (int64_t s = int64_t(steps.size()); s-- > first - from;) {
            keep -= kept(steps[s]->step, program.features);
            sum -= steps[s]->gradient_size();
            const bool wanted = s > first - from || inputs_wanted;
            for (int64_t i = 0; i < count; ++i) steps[s]->differentiate(tiles[i], keep + i * kept_here, sum, wanted);
        }
    }

    // Add the sums of all workers to the gradients of the tensors; each worker writes those of some steps.
    void write_gradient(std::vector<Aligned<T>>& sums_of) {
        parallel_workers(workers, [&](int64_t worker) {
            std::vector<T*> parts;
            for (auto& part : sums_of) if (!part.empty()) parts.push_back(part.data());
            for (int64_t s = first - from; s < int64_t(steps.size()); ++s) {
                if (s % workers == worker) steps[s]->write_gradient(parts);
                for (T*& part : parts) part += steps[s]->gradient_size();
            }
        });
    }
};

template <class T>
void read_rows(const Program& program, const T* x, const T* context, int64_t begin, int64_t rows, const Tile<T>& tile) {
    read_tile(x, begin, rows, program.features, tile.state);
    read_tile(context, begin, rows, program.contexts, tile.context);
    std::fill_n(tile.ladj, tile_rows, T(0));
}

// Return the sum of g_ladj (ladj - |z|^2 / 2 - D log(2 pi) / 2), and leave its gradient by z.
template <class T> double start_from_normal(int64_t features, int64_t rows, const Tile<T>& tile) {
    constexpr double half_log_2_pi = 0.91893853320467274178;
    T energy[tile_rows]{};
    for (int64_t i = 0; i < features; ++i) {
        for (int r = 0; r < tile_rows; ++r) {
            const T z = at(tile.state, i)[r];
            energy[r] += z * z / 2;
            at(tile.g, i)[r] = -tile.g_ladj[r] * z;
        }
    }
    double total = 0;
    for (int r = 0; r < rows; ++r) total += tile.g_ladj[r] * (tile.ladj[r] - energy[r] - double(features) * half_log_2_pi);
    return total;
}

// `keep` has room for what the gradient needs of every tile, or is null.
template <class T> void forward(const Program& program, const T* x, const T* context, T* z, T* ladj, T* keep) {
    Chain<T> chain(program, Direction::forward);
    chain.for_tiles(false, keep ? 0 : chain.kept_most, [&](Workshop<T>& shop, int64_t number, int64_t begin, int64_t rows) {
        read_rows(program, x, context, begin, rows, shop.tile);
        if (!keep) shop.tile.rows = int(rows);
        chain.forward(&shop.tile, 1, keep ? keep + number * chain.kept_here : shop.kept.data(), keep);
        write_tile(z, begin, rows, program.features, shop.tile.state);
        write_tile(ladj, begin, rows, 1, shop.tile.ladj);
    });
}

template <class T> void inverse(const Program& program, const T* z, const T* context, T* x, T* ladj) {
    Chain<T> chain(program, Direction::inverse);
    chain.for_tiles(false, chain.kept_most, [&](Workshop<T>& shop, int64_t, int64_t begin, int64_t rows) {
        read_rows(program, z, context, begin, rows, shop.tile);
        shop.tile.rows = int(rows);
        for (auto step = chain.steps.rbegin(); step != chain.steps.rend(); ++step) (*step)->inverse(shop.tile, shop.kept.data());
        write_tile(x, begin, rows, program.features, shop.tile.state);
        write_tile(ladj, begin, rows, 1, shop.tile.ladj);
    });
}

// Gradients of sum(g_z z) + sum(g_ladj ladj): those of tensors are added to what is there; `keep` is what `forward` left. g_x and g_context are null where not wanted.
template <class T>
void gradient(const Program& program, T* keep, const T* g_z, const T* g_ladj, T* g_x, T* g_context) {
    Chain<T> chain(program, Direction::gradient, program.first);
    std::vector<Aligned<T>> sums(chain.workers);
    const int64_t kept_per_tile = chain.kept_before + chain.kept_here;
    chain.for_tiles(true, 0, [&](Workshop<T>& shop, int64_t number, int64_t begin, int64_t rows) {
        T* sum = shop.room_for_sums(sums, chain.sums);
        read_tile(g_z, begin, rows, program.features, shop.tile.g);
        read_tile(g_ladj, begin, rows, 1, shop.tile.g_ladj);
        std::fill_n(shop.tile.g_context, program.contexts * tile_rows, T(0));
        chain.differentiate(&shop.tile, 1, keep + (number + 1) * kept_per_tile, sum, g_x || g_context);
        if (g_x) write_tile(g_x, begin, rows, program.features, shop.tile.g);
        if (g_context) write_tile(g_context, begin, rows, program.contexts, shop.tile.g_context);
    });
    chain.write_gradient(sums);
}

// The mean over rows of -weight log p for a standard normal latent; its gradient is added to that of the tensors. A tile
// goes forwards and back while it is in the cache: nothing is kept.
template <class T> double normal_loss(const Program& program, const T* x, const T* context, const T* weight) {
    Chain<T> chain(program, Direction::gradient);
    std::vector<Aligned<T>> sums(chain.workers);
    std::vector<double> losses(chain.tiles());
    chain.for_groups(chain.group(), true, chain.kept_here, [&](Workshop<T>& shop, int64_t number, int64_t count) {
        T *sum = shop.room_for_sums(sums, chain.sums), *keep = shop.kept.data();
        const auto rows_of = [&](int64_t i) { return Rows{program, number + i * chain.workers}; };
        for (int64_t i = 0; i < count; ++i) read_rows(program, x, context, rows_of(i).begin, rows_of(i).count, shop.tiles[i]);
        chain.forward(shop.tiles.data(), count, keep);
        for (int64_t i = 0; i < count; ++i) {
            const Tile<T>& tile = shop.tiles[i];
            const auto [begin, rows] = rows_of(i);
            read_tile(weight, begin, rows, 1, tile.g_ladj);
            for (int r = 0; r < rows; ++r) tile.g_ladj[r] = -(weight ? tile.g_ladj[r] : T(1)) / T(program.rows);
            losses[number + i * chain.workers] = start_from_normal(program.features, rows, tile);
        }
        chain.differentiate(shop.tiles.data(), count, keep + chain.kept_here, sum, false);
    });
    chain.write_gradient(sums);
    double total = 0;
    for (const double loss : losses) total += loss;
    return total;
}

inline int64_t kept_in_all(const Program& program) {
    int64_t total = 0;
    for (int64_t s = 0; s < program.n_steps; ++s) total += kept(program.steps[s], program.features);
    return total * ((program.rows + tile_rows - 1) / tile_rows);
}

}  // namespace bijecta

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

BIJECTA_EXPORT int64_t chain_keeps(const bijecta::Program* program) { return bijecta::kept_in_all(*program); }

#define BIJECTA_CHAIN(T)                                                                                               \
    BIJECTA_EXPORT void chain_forward_##T(const bijecta::Program* program, const T* x, const T* context, T* z,         \
                                          T* ladj, T* keep) {                                                          \
        bijecta::forward<T>(*program, x, context, z, ladj, keep);                                                      \
    }                                                                                                                  \
    BIJECTA_EXPORT void chain_inverse_##T(const bijecta::Program* program, const T* z, const T* context, T* x,         \
                                          T* ladj) {                                                                   \
        bijecta::inverse<T>(*program, z, context, x, ladj);                                                            \
    }                                                                                                                  \
    BIJECTA_EXPORT void chain_gradient_##T(const bijecta::Program* program, T* keep, const T* g_z, const T* g_ladj,    \
                                           T* g_x, T* g_context) {                                                     \
        bijecta::gradient<T>(*program, keep, g_z, g_ladj, g_x, g_context);                                             \
    }                                                                                                                  \
    BIJECTA_EXPORT double chain_normal_loss_##T(const bijecta::Program* program, const T* x, const T* context,         \
                                                const T* weight) {                                                     \
        return bijecta::normal_loss<T>(*program, x, context, weight);                                                  \
    }

BIJECTA_CHAIN(float)
BIJECTA_CHAIN(double)
