// Who does what, and where it lies in memory.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cells.h"
#include "gemm.h"

constexpr int64_t LAYOUT_NUMBER = 4;  // raised with every change of `KernelCall`, here and in layout.py

// One call, as Python fills it in. Arrays are contiguous unless strides, in elements, say otherwise; null is absent.
struct KernelCall {
    int64_t members, steps, batch, inputs, hidden, slices, threads;
    int64_t x_strides[3], dy_strides[3];  // member, step, example
    int64_t activation, residual;
    const double* alpha;  // (P,)
    const int64_t* sizes;  // active examples of every step, or null for all
    const void *x, *w_ih, *w_hh, *b_ih, *b_hh, *start[2];
    void *y, *final[2], *slots, *cells;  // (T,P,B,H), (P,B,H), what the way back needs
    const void *dy, *dfinal[2];
    void *dx, *dw_ih, *dw_hh, *db_ih, *db_hh, *dstart[2], *sums;
    double* log2_norms[2];  // (P,T,B)
    void* mantissas[2];     // (P,T,B,H)
    int32_t* exponents[2];  // (P,T,B)
    int64_t shadowed, shadow_exponent;  // whether dy and dfinal are shadows: double precision, times 2^shadow_exponent
    double *shadow_dx, *shadow_dstart[2];
};

namespace {

// Memory of one thread that is kept from call to call, because fresh pages cost as much as the arithmetic.
template <class T> class Scratch {
    std::vector<T> memory;
    size_t used = 0;

  public:
    void reset(size_t count) {
        used = 0;
        if (memory.size() < count + 16) {
            memory = std::vector<T>();  // before the new ones come
            memory = std::vector<T>(count + 16);
        }
        while (reinterpret_cast<uintptr_t>(memory.data() + used) % 64) used++;
    }
    T* take(size_t count) {
        T* p = memory.data() + used;
        used += (count + 63) / 64 * 64;
        return p;
    }
    static size_t room(size_t count) { return (count + 63) / 64 * 64; }
};

// Units come in blocks of one vector, whose slots follow each other. In the last block, when it is not full, they do so
// without gaps, so that no product spends time on padding. A panel is as many blocks as give up to four vectors.
template <class T, class C> struct Layout {
    static constexpr int L = LANES<T>, S = C::SLOTS, BLOCKS = MOST_VECTORS / S;  // blocks in a panel
    const KernelCall& call;
    const int H, I, blocks, vectors, padded, J;

    explicit Layout(const KernelCall& c)
        : call(c), H(c.hidden), I(c.inputs), blocks((H + L - 1) / L), vectors(H / L * S + (H % L * S + L - 1) / L),
          padded(blocks * L), J(H + 1 + I) {}

    int lanes(int block) const { return std::min(L, H - block * L); }
    bool dense(int block) const { return S > 1 && lanes(block) < L; }
    size_t row_size() const { return size_t(vectors) * L; }

    int panels() const { return (blocks + BLOCKS - 1) / BLOCKS; }
    int first(int panel) const { return panel * BLOCKS * S; }
    int width(int panel) const { return std::min(vectors - first(panel), BLOCKS * S); }
    int blocks_in(int panel) const { return std::min(blocks - panel * BLOCKS, BLOCKS); }

    // The vectors of a panel that hold `count` slots from `slot` on; all of them where these share vectors with others.
    int part_first(int panel, int slot) const { return dense(panel * BLOCKS) ? 0 : slot; }
    int part_width(int panel, int count) const {
        return dense(panel * BLOCKS) ? width(panel) : blocks_in(panel) * count;
    }

    // Calls f(position in the panel's row, slot, unit) for every unit of `count` slots from `slot` on, in order.
    template <class F> void each(int panel, int slot, int count, F f) const {
        for (int b = 0; b < blocks_in(panel); b++) {
            const int block = panel * BLOCKS + b;
            for (int s = slot; s < slot + count; s++)
                for (int lane = 0; lane < lanes(block); lane++)
                    f(b * S * L + s * lanes(block) + lane, s, block * L + lane);
        }
    }

    // Where the values that `each` visits begin in the panel's row, and how many there are; they have no gaps.
    int run_first(int panel, int slot) const { return slot * lanes(panel * BLOCKS); }
    int run_length(int panel, int count) const { return count * std::min(BLOCKS * L, H - panel * BLOCKS * L); }
};

// Slots of one dense block between how they lie in memory and one vector each.
template <class T> INLINE void spread(const T* from, T* to, int slots, int lanes) {
    for (int s = 0; s < slots; s++) store(to + s * LANES<T>, load(from + s * lanes, lanes));
}

template <class T> INLINE void gather(const T* from, T* to, int slots, int lanes) {
    for (int s = 0; s < slots; s++) store(to + s * lanes, load(from + s * LANES<T>), lanes);
}

// A slice of one member's batch, which one thread takes through all of time.
struct Slice {
    int member, from, to;
    long before;                // rows of this member that belong to earlier slices
    std::vector<long> starts;   // of every step: rows of the slice before it; one more at the end
    std::vector<int> chunks;    // first step of every chunk, and the number of steps

    int rows() const { return to - from; }
    int active(int t) const { return starts[t + 1] - starts[t]; }
};

constexpr int CHUNK_ROWS = 64;  // rows that one product handles at once where steps can be put together

inline int active_at(const KernelCall& c, int t) { return c.sizes ? c.sizes[t] : c.batch; }

inline Slice make_slice(const KernelCall& c, int task) {
    Slice s;
    s.member = task / c.slices;
    const int part = task % c.slices;
    s.from = c.batch * part / c.slices, s.to = c.batch * (part + 1) / c.slices;
    s.before = 0;
    s.starts.push_back(0);
    for (int t = 0; t < c.steps; t++) {
        if (s.starts.back() - (s.chunks.empty() ? 0 : s.starts[s.chunks.back()]) >= CHUNK_ROWS || t == 0)
            s.chunks.push_back(t);
        const int all = active_at(c, t);
        s.before += std::min(all, s.from);
        s.starts.push_back(s.starts.back() + std::clamp(all - s.from, 0, s.rows()));
    }
    s.chunks.push_back(c.steps);
    return s;
}

inline long member_rows(const KernelCall& c) {
    long rows = 0;
    for (int t = 0; t < c.steps; t++) rows += active_at(c, t);
    return rows;
}

}  // namespace
