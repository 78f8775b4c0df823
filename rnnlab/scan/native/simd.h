// Vectors of the widest registers the compiler was told of, and the functions that gates are made of.
//
// Written with the compiler's vector extensions, and intrinsics where it does not find the instruction by itself, so
// that one text serves AVX-512, AVX2, SSE and NEON in both precisions.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int BYTES = 32, REGISTERS = 16;
#else
constexpr int BYTES = 16, REGISTERS = 16;
#endif

template <class T> struct Simd;
template <> struct Simd<float> {
    typedef float V __attribute__((vector_size(BYTES)));
    typedef int32_t I __attribute__((vector_size(BYTES)));
    static constexpr int LANES = BYTES / 4, MANTISSA = 23, BIAS = 127, TERMS = 7;
    static constexpr float ROUND = 12582912.0f;                             // 1.5 * 2^23
    static constexpr float LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.42860677e-6f;
    static constexpr float EXP_LIMIT = 87.0f;                               // keeps 2^n a normal number
};
template <> struct Simd<double> {
    typedef double V __attribute__((vector_size(BYTES)));
    typedef int64_t I __attribute__((vector_size(BYTES)));
    static constexpr int LANES = BYTES / 8, MANTISSA = 52, BIAS = 1023, TERMS = 13;
    static constexpr double ROUND = 6755399441055744.0;                     // 1.5 * 2^52
    static constexpr double LN2_HIGH = 0.69314718036912381649, LN2_LOW = 1.9082149292705877e-10;
    static constexpr double EXP_LIMIT = 708.0;
};

template <class T> using Vec = typename Simd<T>::V;
template <class T> using Mask = typename Simd<T>::I;
template <class T> constexpr int LANES = Simd<T>::LANES;

template <class T> INLINE Vec<T> splat(T s) { return s - Vec<T>{}; }

template <class T> INLINE Vec<T> load(const T* p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class T> INLINE void store(T* p, Vec<T> v) { std::memcpy(p, &v, sizeof v); }

// The first `lanes` values of p, zeros after them.
#if defined(__AVX512F__)
INLINE Vec<float> load_some(const float* p, int lanes) { return _mm512_maskz_loadu_ps((1u << lanes) - 1, p); }
INLINE Vec<double> load_some(const double* p, int lanes) { return _mm512_maskz_loadu_pd((1u << lanes) - 1, p); }
INLINE void store_some(float* p, Vec<float> v, int lanes) { _mm512_mask_storeu_ps(p, (1u << lanes) - 1, v); }
INLINE void store_some(double* p, Vec<double> v, int lanes) { _mm512_mask_storeu_pd(p, (1u << lanes) - 1, v); }
#else
template <class T> INLINE Vec<T> load_some(const T* p, int lanes) {
    Vec<T> v{};
    for (int i = 0; i < lanes; i++) v[i] = p[i];
    return v;
}
template <class T, class V> INLINE void store_some(T* p, V v, int lanes) {
    for (int i = 0; i < lanes; i++) p[i] = v[i];
}
#endif

template <class T> INLINE Vec<T> load(const T* p, int lanes) {
    return lanes == LANES<T> ? load(p) : load_some(p, lanes);
}

template <class T> INLINE void store(T* p, Vec<T> v, int lanes) {
    if (lanes == LANES<T>)
        store(p, v);
    else
        store_some(p, v, lanes);
}

// The larger or smaller of two; b where one of them is NaN. Compilers do not find these instructions by themselves.
#if defined(__AVX512F__)
INLINE Vec<float> larger(Vec<float> a, Vec<float> b) { return _mm512_max_ps(a, b); }
INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) { return _mm512_min_ps(a, b); }
INLINE Vec<double> larger(Vec<double> a, Vec<double> b) { return _mm512_max_pd(a, b); }
INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) { return _mm512_min_pd(a, b); }
#elif defined(__AVX__)
INLINE Vec<float> larger(Vec<float> a, Vec<float> b) { return _mm256_max_ps(a, b); }
INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) { return _mm256_min_ps(a, b); }
INLINE Vec<double> larger(Vec<double> a, Vec<double> b) { return _mm256_max_pd(a, b); }
INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) { return _mm256_min_pd(a, b); }
#else
template <class V> INLINE V larger(V a, V b) { return a > b ? a : b; }
template <class V> INLINE V smaller(V a, V b) { return a < b ? a : b; }
#endif

template <class T> INLINE Vec<T> clamp(Vec<T> x, T low, T high) {  // NaN stays NaN
    return smaller(splat<T>(high), larger(splat<T>(low), x));
}

template <class T> INLINE Vec<T> absolute(Vec<T> x) {
    return (Vec<T>)((Mask<T>)x & (Mask<T>{} + std::numeric_limits<decltype(Mask<T>{}[0] + 0)>::max()));
}

template <class T> INLINE Vec<T> with_sign(Vec<T> magnitude, Vec<T> sign) {
    const Mask<T> top = Mask<T>{} + std::numeric_limits<decltype(Mask<T>{}[0] + 0)>::min();
    return (Vec<T>)((Mask<T>)magnitude | ((Mask<T>)sign & top));
}

// exp(x) = 2^n (1 + p) with p = exp(r) - 1, |r| <= ln(2) / 2: the Taylor series, long enough for the last bit.
template <class T> INLINE void split_exp(Vec<T> x, Vec<T>& power, Vec<T>& p) {
    using S = Simd<T>;
    x = clamp<T>(x, -S::EXP_LIMIT, S::EXP_LIMIT);
    const Vec<T> shifted = x * T(1.4426950408889634074) + S::ROUND;  // n in the low bits of the mantissa
    const Vec<T> n = shifted - S::ROUND;
    const Vec<T> r = (x - n * S::LN2_HIGH) - n * S::LN2_LOW;
    T coefficient[S::TERMS + 1] = {1};
    for (int i = 1; i <= S::TERMS; i++) coefficient[i] = coefficient[i - 1] / i;
    const Vec<T> square = r * r;
    Vec<T> sum{};
    for (int i = S::TERMS - 1; i >= 2; i -= 2)  // in pairs, whose first products need not wait for each other
        sum = sum * square + (coefficient[i + 1] * r + coefficient[i]);
    p = sum * square + r;
    power = (Vec<T>)(((Mask<T>)shifted << S::MANTISSA) + ((Mask<T>)splat<T>(1)));
}

template <class T> INLINE Vec<T> exp(Vec<T> x) {
    Vec<T> power, p;
    split_exp<T>(x, power, p);
    return power + power * p;
}

// exp(x) - 1 without cancellation near zero.
template <class T> INLINE Vec<T> expm1(Vec<T> x) {
    Vec<T> power, p;
    split_exp<T>(x, power, p);
    return (power - T(1)) + power * p;
}

template <class T> INLINE Vec<T> sigmoid(Vec<T> x) { return T(1) / (T(1) + exp<T>(-x)); }

template <class T> INLINE Vec<T> tanh(Vec<T> x) {
    const Vec<T> e = expm1<T>(absolute<T>(x) * T(-2));  // in (-1, 0]
    return with_sign<T>(-e / (e + T(2)), x);
}

// x = 2^k m with m next to one, and ln m = 2 artanh((m - 1) / (m + 1)) as a series to the last bit.
INLINE Vec<double> log2(Vec<double> x) {
    using I = Mask<double>;
    const I k = ((I)x - 0x3fe6a09e667f3bcdll) >> 52;  // m in [sqrt(1/2), sqrt(2))
    const Vec<double> m = (Vec<double>)((I)x - (k << 52)), s = (m - 1.0) / (m + 1.0), square = s * s;
    Vec<double> sum = splat<double>(1.0 / 23);
    for (int n = 21; n >= 1; n -= 2) sum = sum * square + 1.0 / n;
    const Vec<double> value = __builtin_convertvector(k, Vec<double>) + s * sum * 2.8853900817779268;  // 2 / ln 2
    const double infinity = std::numeric_limits<double>::infinity();
    const Vec<double> odd = x == 0.0 ? splat<double>(-infinity) : x;  // what is not finite stays as it is
    return (x > 0.0) & (x < infinity) ? value : odd;
}

// Over the values of one vector: halves are joined until one value is left. No value may be NaN for the largest.
template <class T> INLINE T sum(Vec<T> v) {
    T parts[LANES<T>];
    std::memcpy(parts, &v, sizeof v);
#pragma GCC unroll 4
    for (int n = LANES<T> / 2; n; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) parts[i] += parts[i + n];
    return parts[0];
}

template <class T> INLINE T largest(Vec<T> v) {
    T parts[LANES<T>];
    std::memcpy(parts, &v, sizeof v);
#pragma GCC unroll 4
    for (int n = LANES<T> / 2; n; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) parts[i] = parts[i] > parts[i + n] ? parts[i] : parts[i + n];
    return parts[0];
}
#if defined(__AVX512F__)
template <> INLINE float sum<float>(Vec<float> v) { return _mm512_reduce_add_ps(v); }
template <> INLINE double sum<double>(Vec<double> v) { return _mm512_reduce_add_pd(v); }
template <> INLINE float largest<float>(Vec<float> v) { return _mm512_reduce_max_ps(v); }
template <> INLINE double largest<double>(Vec<double> v) { return _mm512_reduce_max_pd(v); }
#endif

// Subnormal numbers count as zero while one of these lives; the flags of the thread are put back after.
class FlushSubnormals {
#if defined(__SSE__)
    unsigned before = __builtin_ia32_stmxcsr();

  public:
    FlushSubnormals() { __builtin_ia32_ldmxcsr(before | 0x8040); }
    ~FlushSubnormals() { __builtin_ia32_ldmxcsr(before); }
#endif
};

}  // namespace
