// exp, log, tanh, erfcx and sqrt of vectors, within a few units in the last place; NaN in, NaN out; no call into libm.

#pragma once

#include "vector.hpp"

namespace bijecta {

template <class T> struct Constants;

template <> struct Constants<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr int exponent_bias = 127;
    static constexpr float round_magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
    static constexpr float ln2_high = 0x1.62ep-1f;     // few bits: n * ln2_high is exact
    static constexpr float ln2_low = 0x1.0bfbe8p-15f;
    static constexpr float exp_lowest = -87.4f, exp_highest = 89.0f;
    static constexpr int exp_degree = 7;   // remainder of Taylor's series at ln2 / 2: 5e-9
    static constexpr int log_terms = 4;    // remainder of the series at s^2 = 0.0295: 2e-9
    static constexpr float smallest = 0x1p-126f, subnormal_scale = 0x1p24f, subnormal_shift = 24;
    static constexpr uint32_t sqrt_half = 0x3f3504f3u;
    static constexpr uint32_t infinity = 0x7f800000u;
};

template <> struct Constants<double> {
    static constexpr int mantissa_bits = 52;
    static constexpr int exponent_bias = 1023;
    static constexpr double round_magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double ln2_high = 0x1.62e42feep-1;
    static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double exp_lowest = -708.5, exp_highest = 710.0;
    static constexpr int exp_degree = 13;  // 4e-18
    static constexpr int log_terms = 10;   // 6e-19
    static constexpr double smallest = 0x1p-1022, subnormal_scale = 0x1p53, subnormal_shift = 53;
    static constexpr uint64_t sqrt_half = 0x3fe6a09e667f3bcdull;
    static constexpr uint64_t infinity = 0x7ff0000000000000ull;
};

// exp(x) = 2 half (1 + rest), with half = 2^(n - 1), n = round(x / ln 2) and rest = exp(x - n ln 2) - 1.
template <class T> struct Exponential {
    Vec<T> half, rest;
};

template <class T> BIJECTA_INLINE Exponential<T> exponential(Vec<T> x) {
    using C = Constants<T>;
    // Both ends lie a little outside of the range, where `half` is 0 and the product overflows. NaN stays.
    x = x < C::exp_lowest ? splat<T>(C::exp_lowest) : x;
    x = x > C::exp_highest ? splat<T>(C::exp_highest) : x;
    const Vec<T> shifted = x * T(1.4426950408889634) + C::round_magic;
    const Vec<T> n = shifted - C::round_magic;
    const Vec<T> r = (x - n * C::ln2_high) - n * C::ln2_low;
    // Taylor: rest = r + r^2 (1/2 + r (1/6 + ...)), coefficients 1/k!.
    T factorial = 1;
    for (int k = 2; k <= C::exp_degree; ++k) factorial *= k;
    Vec<T> series = splat<T>(1 / factorial);
    for (int k = C::exp_degree; k > 2; --k) {
        factorial /= k;
        series = series * r + 1 / factorial;
    }
    const Words<T> exponent = to_words<T>(shifted) + typename Vector<T>::Word(C::exponent_bias - 1);
    return {from_words<T>(exponent << C::mantissa_bits), r + r * r * series};
}

template <class T> BIJECTA_INLINE Vec<T> exp(Vec<T> x) {
    const Exponential<T> e = exponential<T>(x);
    return (T(2) + T(2) * e.rest) * e.half;
}

// tanh z = -m / (2 + m) with m = exp(-2|z|) - 1, and its derivative 4 q / (1 + q)^2 with q = exp(-2|z|).
template <class T> struct Tanh {
    Vec<T> value, derivative;
};

template <class T> BIJECTA_INLINE Tanh<T> tanh(Vec<T> z) {
    const Exponential<T> e = exponential<T>(T(-2) * absolute<T>(z));
    const Vec<T> power = e.half + e.half;
    const Vec<T> q = power + power * e.rest, m = power * e.rest + (power - T(1));
    const Vec<T> value = -m / (T(2) + m), part = T(2) / (T(2) + m);
    return {z < T(0) ? -value : value, q * part * part};
}

// log x = k ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)), and with s = f / (2 + f):
// log(1 + f) = 2 artanh s = f - f^2/2 + s (f^2/2 + R),  R = 2 (s^2/3 + s^4/5 + ...).
template <class T> BIJECTA_INLINE Vec<T> log(Vec<T> x) {
    using C = Constants<T>;
    using Word = typename Vector<T>::Word;
    const auto tiny = x < C::smallest;
    const Vec<T> normal = tiny ? x * C::subnormal_scale : x;
    const Words<T> offset = to_words<T>(normal) - C::sqrt_half;
    const Word low = (Word(1) << C::mantissa_bits) - 1;
    const Vec<T> f = from_words<T>((offset & low) + C::sqrt_half) - T(1);
    // The sign-extended exponent is added to the bits of the magic number, which then is magic + k.
    const Word sign_fill = Word(1) << (sizeof(T) * 8 - 1 - C::mantissa_bits);
    const Words<T> signed_exponent = ((offset >> C::mantissa_bits) ^ sign_fill) - sign_fill;
    Vec<T> k = from_words<T>(signed_exponent + to_words<T>(splat<T>(C::round_magic))) - C::round_magic;
    k = tiny ? k - C::subnormal_shift : k;
    const Vec<T> s = f / (T(2) + f), z = s * s, half_square = T(0.5) * f * f;
    Vec<T> series = splat<T>(T(2) / (2 * C::log_terms + 1));
    for (int n = C::log_terms - 1; n > 0; --n) series = series * z + T(2) / (2 * n + 1);
    const Vec<T> small = s * (half_square + z * series) + k * C::ln2_low;
    const Vec<T> value = k * C::ln2_high - ((half_square - small) - f);
    const Vec<T> infinity = from_words<T>(Words<T>{} + C::infinity);
    const Vec<T> regular = x == infinity ? x : value;
    return x > T(0) ? regular : (x == T(0) ? -infinity : infinity - infinity);
}

// erfcx z = exp(z^2) erfc(z) for z >= 0: (z + k) erfcx z is a polynomial in t = (z - k) / (z + k), which is within [-1, 1],
// the interpolation in Chebyshev's nodes with k = 5/2 and a remainder of 1e-8 and 2e-16.
template <class T> struct ErfcxSeries;

template <> struct ErfcxSeries<float> {
    static constexpr float terms[] = {
        1.05403185f, -0.80465186f, 0.45391452f, -0.17125092f, 0.02835668f, 0.00839114f,
        -0.00479736f, -4.3223193e-04f, 6.5929082e-04f, 4.5314086e-05f, -7.0160131e-05f, -6.6570742e-06f};
};

template <> struct ErfcxSeries<double> {
    static constexpr double terms[] = {
        1.054031820305718, -0.8046518494391484, 0.4539141166480569, -0.17125114524610233,
        0.02836155013385942, 0.008393044304327133, -0.004818785558012908, -0.00043920829488536836,
        0.0007026940589974427, 5.830802393238057e-05, -0.00011260673400217951, -1.9533196714725822e-05,
        1.825119436280564e-05, 6.757009847837595e-06, -2.348338605847622e-06, -1.9675019135766307e-06,
        1.9132189761527793e-08, 4.5355299406372847e-07, 1.1214944382197203e-07, -7.37011235544665e-08,
        -3.574319190813427e-08, 6.2626646817483435e-09, 4.525062915294823e-09};
};

template <class T> BIJECTA_INLINE Vec<T> erfcx(Vec<T> z) {
    constexpr auto& terms = ErfcxSeries<T>::terms;
    constexpr int count = int(sizeof terms / sizeof terms[0]);
    const Vec<T> part = T(1) / (z + T(2.5)), t = (z - T(2.5)) * part;
    Vec<T> series = splat<T>(terms[count - 1]);
    for (int k = count - 2; k >= 0; --k) series = series * t + terms[k];
    return series * part;
}

template <class T> BIJECTA_INLINE Vec<T> sqrt(Vec<T> x) {
    alignas(BIJECTA_VECTOR_BYTES) T lane[Vector<T>::lanes];
    std::memcpy(lane, &x, sizeof x);
    // Without errno this loop is one square-root instruction.
    for (T& value : lane) value = sizeof(T) == 4 ? T(__builtin_sqrtf(float(value))) : T(__builtin_sqrt(double(value)));
    std::memcpy(&x, lane, sizeof x);
    return x;
}

}  // namespace bijecta
