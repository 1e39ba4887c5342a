// Matrix products for tiles of rows, on one thread.
//
// A tile holds 64 rows of data, feature by feature: row f of the tile is feature f of all 64 rows of data, so that one vector
// is one feature of several rows, and every elementwise map needs no shuffling. A masked matrix whose outputs see a growing
// prefix of the inputs costs its true triangle.

#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "vector.hpp"

namespace bijecta {

constexpr int tile_rows = 64;
constexpr int panel = 6;  // outputs at once: with four vectors of rows that fills the registers of AVX-512

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// How many vectors of rows (or of inputs) are worked on at once; AVX2 and SSE have half as many registers.
constexpr int vectors_at_once = BIJECTA_VECTOR_BYTES == 64 ? 4 : 2;

template <class T> BIJECTA_INLINE T* at(T* tile, int64_t feature) { return tile + feature * tile_rows; }

// (rows, columns) in memory to a tile and back; rows that are missing in the last tile are zero.
template <class T> inline void read_tile(const T* from, int64_t begin, int64_t rows, int64_t columns, T* tile) {
    for (int64_t c = 0; c < columns; ++c) {
        for (int r = 0; r < tile_rows; ++r) at(tile, c)[r] = from && r < rows ? from[(begin + r) * columns + c] : T(0);
    }
}

template <class T> inline void write_tile(T* to, int64_t begin, int64_t rows, int64_t columns, const T* tile) {
    for (int64_t c = 0; c < columns; ++c) {
        for (int r = 0; r < rows; ++r) to[(begin + r) * columns + c] = at(tile, c)[r];
    }
}

// Memory that begins on a vector, as neither std::vector nor new do; what is written before it is read needs no zeros.
enum class Begin { zeros, anything };

template <class T> struct Aligned {
    Aligned() = default;
    explicit Aligned(int64_t count, Begin begin = Begin::zeros) {
        const int64_t room = count + BIJECTA_VECTOR_BYTES / sizeof(T);
        storage.reset(begin == Begin::zeros ? new T[room]() : new T[room]);
    }
    bool empty() const { return !storage; }
    T* data() {
        const auto address = reinterpret_cast<uintptr_t>(storage.get());
        return reinterpret_cast<T*>((address + BIJECTA_VECTOR_BYTES - 1) / BIJECTA_VECTOR_BYTES * BIJECTA_VECTOR_BYTES);
    }
    std::unique_ptr<T[]> storage;
};

// A panel of weights: that of input k and output o is first[k * by_input + o * by_output].
template <class T> struct Panel {
    const T* first;
    int64_t by_input, by_output;
};

// y[o] = start[o] + sum_k weights[k][o] * x[k] for O outputs and the first rows of the tile, R vectors of them at once; no
// start is zero. x and y are tiles.
template <class T, int O, int R>
BIJECTA_INLINE void multiply_panel(Panel<T> weights, int64_t depth, const T* x, const T* start, T* y, int rows) {
    constexpr int L = Vector<T>::lanes;
    for (int row = 0; row < rows; row += R * L) {
        Vec<T> sum[O][R];
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) sum[o][r] = start ? splat(start[o]) : Vec<T>{};
        for (int64_t k = 0; k < depth; ++k) {
            Vec<T> in[R];
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) in[r] = load(x + k * tile_rows + row + r * L);
#pragma GCC unroll 8
            for (int o = 0; o < O; ++o) {
                const Vec<T> weight = splat(weights.first[k * weights.by_input + o * weights.by_output]);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) sum[o][r] += weight * in[r];
            }
        }
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) store(y + o * tile_rows + row + r * L, sum[o][r]);
    }
}

// The same for any number of outputs up to a panel.
template <class T, int R>
inline void multiply_outputs(int64_t outputs, Panel<T> weights, int64_t depth, const T* x, const T* start, T* y, int rows) {
    switch (outputs) {
        case 1: return multiply_panel<T, 1, R>(weights, depth, x, start, y, rows);
        case 2: return multiply_panel<T, 2, R>(weights, depth, x, start, y, rows);
        case 3: return multiply_panel<T, 3, R>(weights, depth, x, start, y, rows);
        case 4: return multiply_panel<T, 4, R>(weights, depth, x, start, y, rows);
        case 5: return multiply_panel<T, 5, R>(weights, depth, x, start, y, rows);
        default: return multiply_panel<T, 6, R>(weights, depth, x, start, y, rows);
    }
}

// And for any number of rows, without work on many more: one row at a time has to be fast too.
template <class T>
inline void multiply(int64_t outputs, Panel<T> weights, int64_t depth, const T* x, const T* start, T* y, int rows = tile_rows) {
    if (rows <= Vector<T>::lanes) return multiply_outputs<T, 1>(outputs, weights, depth, x, start, y, rows);
    return multiply_outputs<T, vectors_at_once>(outputs, weights, depth, x, start, y, rows);
}

// y[o] = start[o] + sum_k weights[o][k] * x[k] for one row of data: the lanes are inputs, since there is one row only. Of the
// weights of an output, `stride` are in memory, and the first `depth` count; x lies without gaps, y is a tile. Its whole
// first vector gets the sum, for maps compute with whole vectors.
template <class T>
inline void multiply_row(int64_t outputs, const T* weights, int64_t stride, int64_t depth, const T* x, const T* start, T* y) {
    constexpr int L = Vector<T>::lanes;
    const int64_t whole = depth / L * L;
    for (int64_t o = 0; o < outputs; o += L, weights += L * stride) {
        const int64_t last = std::min<int64_t>(L, outputs - o) - 1;
        Vec<T> sums[L]{};
        for (int64_t k = 0; k < whole; k += L) {
            const Vec<T> in = load(x + k);
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) sums[l] += load(weights + std::min<int64_t>(l, last) * stride + k) * in;
        }
        transpose<T>(sums);
        for (int l = 1; l < L; ++l) sums[0] += sums[l];
        for (int64_t l = 0; l <= last; ++l) {
            T sum = sums[0][l] + (start ? start[o + l] : T(0));
            for (int64_t k = whole; k < depth; ++k) sum += weights[l * stride + k] * x[k];
            store(at(y, o + l), splat(sum));
        }
    }
}

// w[o][i] += sum_r g[o][r] * x[r][i] for six outputs o and V vectors of inputs i of a block of rows.
template <class T, int V> BIJECTA_INLINE void add_outer_products(const T* g, const T* x, int64_t stride, T* w) {
    constexpr int L = Vector<T>::lanes, W = vectors_at_once * L;
    Vec<T> sum[panel][V];
#pragma GCC unroll 8
    for (int o = 0; o < panel; ++o)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[o][v] = load(w + o * stride + v * L);
            __builtin_prefetch(w + (panel + o) * stride + v * L, 1);  // the next panel's: they come from a farther cache
        }
    for (int r = 0; r < tile_rows; ++r) {
        Vec<T> in[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) in[v] = load(x + r * W + v * L);
#pragma GCC unroll 8
        for (int o = 0; o < panel; ++o) {
            const Vec<T> gradient = splat(g[o * tile_rows + r]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sum[o][v] += gradient * in[v];
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < panel; ++o)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) store(w + o * stride + v * L, sum[o][v]);
}

// w[o * stride] += sum_r g[o][r] * x[r] for any number of outputs o and one input; no x is ones. The sums of as many outputs
// as a vector has lanes are added up together.
template <class T> inline void add_dot_products(int64_t outputs, const T* g, const T* x, int64_t stride, T* w) {
    constexpr int L = Vector<T>::lanes;
    for (int64_t o = 0; o < outputs; o += L) {
        const int count = int(std::min<int64_t>(L, outputs - o));
        Vec<T> sums[L]{};
        for (int l = 0; l < count; ++l) {
            for (int r = 0; r < tile_rows; r += L) {
                const Vec<T> gradient = load(g + (o + l) * tile_rows + r);
                sums[l] += x ? gradient * load(x + r) : gradient;
            }
        }
        transpose<T>(sums);
        for (int l = 1; l < L; ++l) sums[0] += sums[l];
        for (int l = 0; l < count; ++l) w[(o + l) * stride] += sums[0][l];
    }
}

// A tile row by row, in blocks of so many features that a product takes at once: rows one behind the other would be as far
// apart as the features are many, and fall into few places of a cache. Features up to the next vector are zero.
template <class T> inline void to_blocks(const T* tile, int64_t features, T* blocks) {
    constexpr int L = Vector<T>::lanes, W = vectors_at_once * L;
    for (int64_t f = 0; f < features; f += L) {
        const int count = int(std::min<int64_t>(L, features - f));
        T* to = blocks + f / W * W * tile_rows + f % W;
        for (int r = 0; r < tile_rows; r += L) {
            Vec<T> block[L];
            for (int l = 0; l < L; ++l) block[l] = l < count ? load(tile + (f + l) * tile_rows + r) : Vec<T>{};
            transpose<T>(block);
            for (int l = 0; l < L; ++l) store(to + (r + l) * W, block[l]);
        }
    }
}

// Room that `to_blocks` needs.
template <class T> inline int64_t block_room(int64_t features) {
    return round_up(features, vectors_at_once * Vector<T>::lanes) * tile_rows;
}

}  // namespace bijecta
