// Vectors of numbers, one lane per element, in the language that GCC and Clang share (`vector_size`).
//
// Each instruction set is a shared library of its own, compiled from the same sources with other flags: no inline
// function of one can be linked into another, and Python loads the one that fits the processor.

#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#define BIJECTA_VECTOR_BYTES 64
#define BIJECTA_INSTRUCTIONS "AVX-512"
#elif defined(__AVX2__)
#define BIJECTA_VECTOR_BYTES 32
#define BIJECTA_INSTRUCTIONS "AVX2"
#else
#define BIJECTA_VECTOR_BYTES 16
#define BIJECTA_INSTRUCTIONS "baseline"
#endif

// A vector that is passed to a real function goes through memory.
#define BIJECTA_INLINE inline __attribute__((always_inline))

namespace bijecta {

template <class T> struct Bits;
template <> struct Bits<float> { using type = uint32_t; };
template <> struct Bits<double> { using type = uint64_t; };

template <class T> struct Vector {
    static constexpr int lanes = BIJECTA_VECTOR_BYTES / sizeof(T);
    using Word = typename Bits<T>::type;
    typedef T type __attribute__((vector_size(BIJECTA_VECTOR_BYTES)));
    typedef Word words __attribute__((vector_size(BIJECTA_VECTOR_BYTES)));
};
template <class T> using Vec = typename Vector<T>::type;
template <class T> using Words = typename Vector<T>::words;

template <class T> BIJECTA_INLINE Vec<T> splat(T value) { return Vec<T>{} + value; }

template <class T> BIJECTA_INLINE Words<T> to_words(Vec<T> v) { return (Words<T>)v; }

template <class T> BIJECTA_INLINE Vec<T> from_words(Words<T> w) { return (Vec<T>)w; }

template <class T> BIJECTA_INLINE Vec<T> absolute(Vec<T> v) { return v < T(0) ? -v : v; }

// Whether a comparison holds in some lane.
template <class Mask> BIJECTA_INLINE bool any(Mask mask) {
    uint64_t words[BIJECTA_VECTOR_BYTES / 8], together = 0;
    std::memcpy(words, &mask, sizeof words);
    for (const uint64_t word : words) together |= word;
    return together != 0;
}

// The first `count` numbers from memory; zero in the other lanes.
template <class T> BIJECTA_INLINE Vec<T> load(const T* from, int count = Vector<T>::lanes) {
    Vec<T> v{};
    if (count == Vector<T>::lanes) std::memcpy(&v, from, sizeof v);
    else std::memcpy(&v, from, count * sizeof(T));
    return v;
}

template <class T> BIJECTA_INLINE void store(T* to, Vec<T> v, int count = Vector<T>::lanes) {
    if (count == Vector<T>::lanes) std::memcpy(to, &v, sizeof v);
    else std::memcpy(to, &v, count * sizeof(T));
}

// --- transposition: parameters lie row by row (one element after the other), lanes want them column by column --------

template <class T, class Lanes> struct Exchange;
template <class T, std::size_t... lane> struct Exchange<T, std::index_sequence<lane...>> {
    static constexpr int L = Vector<T>::lanes;

    // Two rows swap the blocks that lie across the diagonal: lane bit `width` of one with row bit `width` of the other.
    template <int width> static void rows(Vec<T>& a, Vec<T>& b) {
        const Vec<T> upper = a, lower = b;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
        a = __builtin_shufflevector(upper, lower, ((lane & width) ? L + int(lane) - width : int(lane))...);
        b = __builtin_shufflevector(upper, lower, ((lane & width) ? L + int(lane) : int(lane) + width)...);
        return;
#endif
#endif
        for (int l = 0; l < L; ++l) {
            a[l] = (l & width) ? lower[l - width] : upper[l];
            b[l] = (l & width) ? lower[l] : upper[l + width];
        }
    }
};

template <class T, int width = Vector<T>::lanes / 2> BIJECTA_INLINE void transpose(Vec<T>* rows) {
    if constexpr (width > 0) {
        constexpr int L = Vector<T>::lanes;
        for (int i = 0; i < L; ++i) {
            if (!(i & width)) Exchange<T, std::make_index_sequence<L>>::template rows<width>(rows[i], rows[i + width]);
        }
        transpose<T, width / 2>(rows);
    }
}

// How many numbers from the start of row l may be touched: a whole vector, which for short rows reaches into the next
// ones (their turn comes after), but never past the last row.
template <class T> BIJECTA_INLINE int reach(int l, int columns) {
    constexpr int L = Vector<T>::lanes;
    return columns >= L || (L - l) * columns >= L ? L : (L - l) * columns;
}

// tile[j] lane l = matrix[l][j], for `columns` columns of `rows` rows; missing rows are zero.
template <class T> BIJECTA_INLINE void load_tile(const T* matrix, int rows, int columns, Vec<T>* tile) {
    constexpr int L = Vector<T>::lanes;
    if (rows < L) {
        for (int j = 0; j < columns; ++j) {
            tile[j] = Vec<T>{};
            for (int l = 0; l < rows; ++l) tile[j][l] = matrix[l * int64_t(columns) + j];
        }
        return;
    }
    for (int start = 0; start < columns; start += L) {
        // The last block overlaps the one before it instead of reading past the end.
        const int from = start + L <= columns || columns < L ? start : columns - L;
        Vec<T> block[L];
        for (int l = 0; l < L; ++l) block[l] = load(matrix + l * int64_t(columns) + from, reach<T>(l, columns));
        transpose<T>(block);
        for (int j = 0; j < L && j < columns; ++j) tile[from + j] = block[j];
    }
}

template <class T> BIJECTA_INLINE void store_tile(T* matrix, int rows, int columns, const Vec<T>* tile) {
    constexpr int L = Vector<T>::lanes;
    if (rows < L) {
        for (int j = 0; j < columns; ++j) {
            for (int l = 0; l < rows; ++l) matrix[l * int64_t(columns) + j] = tile[j][l];
        }
        return;
    }
    for (int start = 0; start < columns; start += L) {
        const int from = start + L <= columns || columns < L ? start : columns - L;
        Vec<T> block[L];
        for (int j = 0; j < L; ++j) block[j] = j < columns ? tile[from + j] : Vec<T>{};
        transpose<T>(block);
        for (int l = 0; l < L; ++l) store(matrix + l * int64_t(columns) + from, block[l], reach<T>(l, columns));
    }
}

}  // namespace bijecta
