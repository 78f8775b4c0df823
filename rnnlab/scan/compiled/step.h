// What the generated code of a step is written with: functions of vectors of units, and of single numbers.
#pragma once
#include <cmath>

#include "frame.h"
#include "simd.h"

typedef REAL T;
typedef Vec<T> V;
constexpr int L = LANES<T>;

namespace {

INLINE V vector_of(V v) { return v; }
INLINE V vector_of(T v) { return splat<T>(v); }

template <class A, class B> INLINE V pick(Mask<T> m, A a, B b) { return m ? vector_of(a) : vector_of(b); }
INLINE T pick(bool m, T a, T b) { return m ? a : b; }
template <class A, class B> INLINE V pick(bool m, A a, B b) { return m ? vector_of(a) : vector_of(b); }

#define OF_VECTORS(name)                                         \
    INLINE V name##_of(V v) { return name<T>(v); }               \
    INLINE T name##_of(T v) { return std::name(v); }
OF_VECTORS(tanh)
OF_VECTORS(exp)
OF_VECTORS(expm1)
INLINE V sigmoid_of(V v) { return sigmoid<T>(v); }
INLINE T sigmoid_of(T v) { return T(1) / (T(1) + std::exp(-v)); }

#define ONE_BY_ONE(name)                                         \
    INLINE V name##_of(V v) {                                    \
        for (int i = 0; i < L; i++) v[i] = std::name(v[i]);      \
        return v;                                                \
    }                                                            \
    INLINE T name##_of(T v) { return std::name(v); }
ONE_BY_ONE(log)
ONE_BY_ONE(log1p)
ONE_BY_ONE(erf)
ONE_BY_ONE(erfc)
ONE_BY_ONE(sin)
ONE_BY_ONE(cos)
ONE_BY_ONE(tan)
ONE_BY_ONE(atan)
ONE_BY_ONE(sinh)
ONE_BY_ONE(cosh)

INLINE T root_of(T v) { return std::sqrt(v); }
#if defined(__AVX512F__)
INLINE Vec<float> root_of(Vec<float> v) { return _mm512_sqrt_ps(v); }
INLINE Vec<double> root_of(Vec<double> v) { return _mm512_sqrt_pd(v); }
#elif defined(__AVX__)
INLINE Vec<float> root_of(Vec<float> v) { return _mm256_sqrt_ps(v); }
INLINE Vec<double> root_of(Vec<double> v) { return _mm256_sqrt_pd(v); }
#else
INLINE V root_of(V v) {
    for (int i = 0; i < L; i++) v[i] = std::sqrt(v[i]);
    return v;
}
#endif

INLINE V magnitude(V v) { return absolute<T>(v); }
INLINE T magnitude(T v) { return std::fabs(v); }
INLINE V sign(V v) { return v > 0 ? splat<T>(1) : v < 0 ? splat<T>(-1) : v; }
INLINE T sign(T v) { return v > 0 ? T(1) : v < 0 ? T(-1) : v; }

// The first `count` values, zeros after them.
INLINE V first(V v, long count) {
    if (count >= L) return v;
    for (int i = 0; i < L; i++) v[i] = i < count ? v[i] : T(0);
    return v;
}

}  // namespace
