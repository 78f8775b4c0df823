// The equations of the cells, forward and backward, on one vector of units.
//
// A cell has SLOTS vectors for each vector of units and step: the pre-activations, what the way back needs of the step,
// and on the way back the gradients of the pre-activations. Slots [H_FIRST, H_FIRST + H_COUNT) take part in the
// product with the hidden state, those of X in the one with the input. `h_rows` and `x_rows` name the block of rows
// of the weights that a slot belongs to.
#pragma once
#include "simd.h"

namespace {

enum class Activation { identity, tanh, sigmoid, relu, leaky_relu, elu, softsign, softplus, gelu, hard_tanh };

struct Options {
    Activation activation = Activation::tanh;
    bool residual = false;
    double alpha = 1;
};

// f = phi(z) and the slope phi'(z).
template <class T> INLINE void activate(Activation which, Vec<T> z, Vec<T>& f, Vec<T>& slope) {
    const Vec<T> zero{}, one = splat<T>(1);
    switch (which) {
        case Activation::identity: f = z, slope = one; break;
        case Activation::tanh: f = tanh<T>(z), slope = one - f * f; break;
        case Activation::sigmoid: f = sigmoid<T>(z), slope = f * (one - f); break;
        case Activation::relu: f = z < zero ? zero : z, slope = z <= zero ? zero : one; break;  // one at NaN, as in torch
        case Activation::leaky_relu: slope = z > zero ? one : splat<T>(0.01), f = slope * z; break;
        case Activation::elu:
            f = z > zero ? z : expm1<T>(z);
            slope = z > zero ? one : f + one;
            break;
        case Activation::softsign: {
            const Vec<T> scale = one / (one + absolute<T>(z));
            f = z * scale, slope = scale * scale;
            break;
        }
        case Activation::softplus:
            for (int i = 0; i < LANES<T>; i++) f[i] = std::fmax(z[i], T(0)) + std::log1p(std::exp(-std::fabs(z[i])));
            f = z > T(20) ? z : f;  // as torch does
            slope = z > T(20) ? one : sigmoid<T>(z);
            break;
        case Activation::gelu: {
            Vec<T> share;  // the normal distribution function
            for (int i = 0; i < LANES<T>; i++) share[i] = T(0.5) * std::erfc(z[i] * T(-0.70710678118654752));
            f = z * share, slope = share + z * T(0.39894228040143268) * exp<T>(z * z * T(-0.5));
            break;
        }
        case Activation::hard_tanh: {
            const Mask<T> inside = (z > -one) & (z < one);
            f = clamp<T>(z, -1, 1), slope = inside ? one : zero;
            break;
        }
    }
}

// h' = phi(u), or h + alpha phi(u). Kept: the slope of h' in u.
template <class T> struct Vanilla {
    static constexpr int SLOTS = 1, H_FIRST = 0, H_COUNT = 1, X_FIRST = 0, X_COUNT = 1, STATES = 1;
    static constexpr int h_rows[] = {0}, x_rows[] = {0};

    static INLINE Vec<T> forward(const Options& o, const T* u, T* slot, Vec<T> h, Vec<T>&) {
        Vec<T> f{}, slope{};
        activate<T>(o.activation, load(u), f, slope);
        store(slot, slope * T(o.alpha));
        return o.residual ? h + f * T(o.alpha) : f;
    }

    static INLINE void backward(const Options& o, const T* slot, Vec<T>, Vec<T>, Vec<T>, T* d, Vec<T>& dh, Vec<T>&,
                                Vec<T>&) {
        store(d, dh * load(slot));
        dh = o.residual ? dh : Vec<T>{};
    }
};

// c' = f c + i g; h' = o tanh(c'). Slots: i, f, g, o, or i, g, o where nothing is forgotten.
template <class T, bool FORGET> struct Lstm {
    static constexpr int SLOTS = FORGET ? 4 : 3, H_FIRST = 0, H_COUNT = SLOTS, X_FIRST = 0, X_COUNT = SLOTS, STATES = 2;
    static constexpr int h_rows[] = {0, 1, 2, 3}, x_rows[] = {0, 1, 2, 3};
    static constexpr int G = SLOTS - 2, O = SLOTS - 1, L = LANES<T>;

    static INLINE Vec<T> forward(const Options&, const T* u, T* slot, Vec<T>, Vec<T>& c) {
        const Vec<T> i = sigmoid<T>(load(u)), g = tanh<T>(load(u + G * L)), o = sigmoid<T>(load(u + O * L));
        store(slot, i), store(slot + G * L, g), store(slot + O * L, o);
        if constexpr (FORGET) {
            const Vec<T> f = sigmoid<T>(load(u + L));
            store(slot + L, f);
            c = f * c;
        }
        c += i * g;
        return c;
    }

    // h', once c' is there: a pass of its own over many examples, because it has to wait for c' within one.
    static INLINE Vec<T> emit(Vec<T> o, Vec<T> c) { return o * tanh<T>(c); }

    static INLINE void backward(const Options&, const T* slot, Vec<T>, Vec<T> c_old, Vec<T> c, T* d, Vec<T>& dh,
                                Vec<T>& dc, Vec<T>& total_c) {
        const Vec<T> i = load(slot), g = load(slot + G * L), o = load(slot + O * L), read = tanh<T>(c);
        const T one = 1;
        total_c = dc = dc + dh * o * (one - read * read);
        store(d, dc * g * i * (one - i));
        store(d + G * L, dc * i * (one - g * g));
        store(d + O * L, dh * read * o * (one - o));
        if constexpr (FORGET) {
            const Vec<T> f = load(slot + L);
            store(d + L, dc * c_old * f * (one - f));
            dc = dc * f;
        }
        dh = Vec<T>{};
    }
};

// h' = n + z (h - n), n = tanh(u_n + r v_n). Slots: v_n, r, z, n, so that both products read neighbours.
template <class T> struct Gru {
    static constexpr int SLOTS = 4, H_FIRST = 0, H_COUNT = 3, X_FIRST = 1, X_COUNT = 3, STATES = 1, L = LANES<T>;
    static constexpr int h_rows[] = {2, 0, 1, -1}, x_rows[] = {-1, 0, 1, 2};

    static INLINE Vec<T> forward(const Options&, const T* u, T* slot, Vec<T> h, Vec<T>&) {
        const Vec<T> v = load(u), r = sigmoid<T>(load(u + L)), z = sigmoid<T>(load(u + 2 * L));
        const Vec<T> n = tanh<T>(load(u + 3 * L) + r * v);
        store(slot, v), store(slot + L, r), store(slot + 2 * L, z), store(slot + 3 * L, n);
        return n + z * (h - n);
    }

    static INLINE void backward(const Options&, const T* slot, Vec<T> h, Vec<T>, Vec<T>, T* d, Vec<T>& dh, Vec<T>&,
                                Vec<T>&) {
        const Vec<T> v = load(slot), r = load(slot + L), z = load(slot + 2 * L), n = load(slot + 3 * L);
        const T one = 1;
        const Vec<T> dn = dh * (one - z) * (one - n * n);
        store(d, dn * r);
        store(d + L, dn * v * r * (one - r));
        store(d + 2 * L, dh * (h - n) * z * (one - z));
        store(d + 3 * L, dn);
        dh = dh * z;
    }
};

}  // namespace
