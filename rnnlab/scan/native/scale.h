// Numbers far beyond the floating point's range: a mantissa of moderate size and a power of two beside it.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "simd.h"

namespace {

template <class T> using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// 2^e; zero and infinity beyond the normal numbers.
template <class T> INLINE T power_of_two(int e) {
    if (e < 1 - Simd<T>::BIAS) return 0;
    const Bits<T> bits = Bits<T>(std::min(e, Simd<T>::BIAS + 1) + Simd<T>::BIAS) << Simd<T>::MANTISSA;
    T power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

// The power of two below a positive number.
template <class T> INLINE int exponent_of(T m) {
    Bits<T> bits;
    std::memcpy(&bits, &m, sizeof bits);
    return int(bits >> Simd<T>::MANTISSA) - Simd<T>::BIAS;
}

// The power of two of one example's running gradient.
struct Scale {
    static constexpr int LEEWAY = 8, NEGLIGIBLE = 30;
    int exponent = 0;
    bool empty = true;  // no gradient has arrived yet

    // Fix the exponent for a new gradient whose largest value is about 2^size; tells what the old mantissa is
    // multiplied by.
    template <class T> T admit(int size) {
        const bool tiny = exponent < 1 - Simd<T>::BIAS;  // 2^-exponent would overflow
        if (!empty && size <= exponent + NEGLIGIBLE && !(tiny && size > exponent)) return 1;
        const int by = exponent - size;
        exponent = size;
        const T factor = empty ? T(1) : power_of_two<T>(by);
        empty = false;
        return factor;
    }

    // Bring a mantissa with this norm back to about one; tells what to multiply it by.
    template <class T> T recentre(T norm) {
        if (norm == 0) return empty = true, exponent = 0, T(1);
        if (!std::isfinite(norm)) return 1;
        const int by = exponent_of(norm);
        if (std::abs(by) <= LEEWAY) return 1;
        exponent += by;
        return power_of_two<T>(-by);
    }
};

// The power of two below the largest of `count` values, and false if all are zero. What is not finite counts as one.
template <class T> INLINE bool find_size(const T* p, int count, int& size) {
    Vec<T> most{}, odd{};  // a maximum loses NaN, zero times it does not
    for (int i = 0; i < count; i += LANES<T>) {
        const Vec<T> v = load(p + i, count - i < LANES<T> ? count - i : LANES<T>);
        most = larger(absolute<T>(v), most);
        odd += v * T(0);
    }
    const T m = largest<T>(most);
    const bool finite = sum<T>(odd) == 0;
    size = finite && m > 0 ? exponent_of(m) : 0;
    return !finite || m >= std::numeric_limits<T>::min();
}

// Euclidean norm; squares that would underflow are taken again at another scale.
template <class T> INLINE T norm(const T* p, int count) {
    Vec<T> squares{};
    for (int i = 0; i < count; i += LANES<T>) {
        const Vec<T> v = load(p + i);
        squares += v * v;
    }
    const T total = sum<T>(squares);
    if (total > T(1e-25)) return std::sqrt(total);
    int size;
    if (!find_size(p, count, size)) return 0;
    T fine = 0;
    for (int i = 0; i < count; i++) fine += std::ldexp(p[i], -size) * std::ldexp(p[i], -size);
    return std::ldexp(std::sqrt(fine), size);
}

}  // namespace
