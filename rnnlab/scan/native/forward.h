// The way forward: one slice of the batch through all of time.
#pragma once
#include "layout.h"

namespace {

// Weights as the products of the way forward read them: for each panel a row of vectors for every input, then one for
// every hidden unit.
template <class T, class C> class ForwardWeights {
    using Plan = Layout<T, C>;
    static constexpr int L = Plan::L;
    const Plan& plan;
    T *packed, *bias;

    long panel_size(int panel) const {
        return (plan.part_width(panel, C::X_COUNT) * plan.I + plan.part_width(panel, C::H_COUNT) * plan.H) * long(L);
    }

    static void pack(const Plan& plan, T* out, int panel, const T* w, int depth, int slot, int count, const int* rows) {
        const int width = plan.part_width(panel, count) * L, first = plan.part_first(panel, slot) * L;
        std::fill(out, out + size_t(depth) * width, T(0));
        plan.each(panel, slot, count, [&](int at, int s, int unit) {
            const T* from = w + (size_t(rows[s]) * plan.H + unit) * depth;
            for (int k = 0; k < depth; k++) out[size_t(k) * width + at - first] = from[k];
        });
    }

    void add_bias(const T* b, int slot, int count, const int* rows) {
        for (int panel = 0; b && panel < plan.panels(); panel++)
            plan.each(panel, slot, count, [&](int at, int s, int unit) {
                bias[plan.first(panel) * L + at] += b[rows[s] * plan.H + unit];
            });
    }

  public:
    static size_t size(const Plan& p) { return size_t(p.vectors) * L * (p.H + p.I); }
    static size_t room(const Plan& p) { return Scratch<T>::room(size(p)) + Scratch<T>::room(p.row_size()); }

    ForwardWeights(const Plan& p, Scratch<T>& scratch, int member) : plan(p) {
        const KernelCall& c = p.call;
        const size_t rows = size_t(C::X_COUNT) * p.H * member;
        packed = scratch.take(size(p)), bias = scratch.take(p.row_size());
        T* out = packed;
        for (int panel = 0; panel < p.panels(); out += panel_size(panel++)) {
            T* h = out + size_t(p.part_width(panel, C::X_COUNT)) * L * p.I;
            pack(p, out, panel, (const T*)c.w_ih + rows * p.I, p.I, C::X_FIRST, C::X_COUNT, C::x_rows);
            pack(p, h, panel, (const T*)c.w_hh + rows * p.H, p.H, C::H_FIRST, C::H_COUNT, C::h_rows);
        }
        std::fill(bias, bias + p.row_size(), T(0));
        add_bias(c.b_ih ? (const T*)c.b_ih + rows : nullptr, C::X_FIRST, C::X_COUNT, C::x_rows);
        add_bias(c.b_hh ? (const T*)c.b_hh + rows : nullptr, C::H_FIRST, C::H_COUNT, C::h_rows);
    }

    // u (rows, width of the panel) = bias + (x, h) W, with x and h side by side.
    void project(T* u, int panel, const T* xh, int rows) const {
        const int vectors = plan.width(panel), width = vectors * L, stride = plan.I + plan.H;
        const T *w = packed + panel * panel_size(0), *b = bias + size_t(plan.first(panel)) * L;
        const int x_width = plan.part_width(panel, C::X_COUNT), h_width = plan.part_width(panel, C::H_COUNT);
        if (x_width == vectors && h_width == vectors) {
            multiply<T>(b, 0, u, width, xh, stride, 1, w, width, rows, vectors, stride);
        } else {
            for (int r = 0; r < rows; r++) std::copy(b, b + C::X_FIRST * L, u + size_t(r) * width);
            T *ux = u + C::X_FIRST * L, *uh = u + C::H_FIRST * L;
            multiply<T>(b + C::X_FIRST * L, 0, ux, width, xh, stride, 1, w, x_width * L, rows, x_width, plan.I);
            w += size_t(x_width) * L * plan.I;
            multiply<T>(uh, width, uh, width, xh + plan.I, stride, 1, w, h_width * L, rows, h_width, plan.H);
        }
    }
};

// Rows of x of one step, wherever they are, side by side.
template <class T>
void gather_inputs(const KernelCall& c, const Slice& slice, int t, T* out, long row_stride, const T* scale) {
    const T* x = (const T*)c.x + slice.member * c.x_strides[0] + t * c.x_strides[1] + slice.from * c.x_strides[2];
    for (int r = 0; r < slice.active(t); r++) {
        const T factor = scale ? scale[r] : T(1);
        for (int i = 0; i < c.inputs; i++) out[r * row_stride + i] = x[r * c.x_strides[2] + i] * factor;
    }
}

// Where the slice's rows of h at the end of step t begin; step -1 is the start.
template <class T> const T* hidden_before(const KernelCall& c, const Slice& slice, int t) {
    const size_t rows = size_t(slice.member) * c.batch + slice.from, step = size_t(c.members) * c.batch;
    return t ? (const T*)c.y + ((t - 1) * step + rows) * c.hidden : (const T*)c.start[0] + rows * c.hidden;
}

template <class T, class C> class Forward {
    using Plan = Layout<T, C>;
    static constexpr int L = Plan::L;
    const KernelCall& call;
    const Plan& plan;
    const Slice& slice;
    const Options options;
    ForwardWeights<T, C> weights;
    T *u, *xh, *cell, *own_slots;

    // The step of one block of units, once its products are there; `lanes` is constant but in the last block.
    INLINE void advance(int rows, int block, int lanes, const T* u, const T* h_old, T* h, T* slots, T* kept) {
        const int at = block * L;
        const long width = long(plan.width(block / Plan::BLOCKS)) * L, H = plan.H, padded = plan.padded;
        const long slot_row = plan.row_size();
        const Options o = options;
        for (int r = 0; r < rows; r++) {
            Vec<T> c{};
            if constexpr (C::STATES == 2) c = load(cell + r * padded + at);
            const Vec<T> old = load(h_old + r * H + at, lanes);
            T wide[C::SLOTS * L], *slot = slots + r * slot_row;
            const bool dense = C::SLOTS > 1 && lanes < L;
            if (dense) spread(u + r * width, wide, C::SLOTS, lanes);
            const Vec<T> new_h = C::forward(o, dense ? wide : u + r * width, dense ? wide : slot, old, c);
            if (dense) gather(wide, slot, C::SLOTS, lanes);
            if constexpr (C::STATES == 2) {
                store(cell + r * padded + at, c);
                if (kept) store(kept + r * padded + at, c);
            } else {
                store(h + r * H + at, new_h, lanes);
            }
        }
        if constexpr (C::STATES == 2)
            for (int r = 0; r < rows; r++) {
                const Vec<T> gate = load(slots + r * slot_row + C::O * lanes, lanes);
                store(h + r * H + at, C::emit(gate, load(cell + r * padded + at)), lanes);
            }
    }

    void run_step(int t, T* slots, T* kept) {
        const int active = slice.active(t), stride = plan.I + plan.H;
        const T* h_old = hidden_before<T>(call, slice, t);
        T* h = const_cast<T*>(hidden_before<T>(call, slice, t + 1));
        gather_inputs<T>(call, slice, t, xh, stride, nullptr);
        for (int r = 0; r < active; r++)
            std::copy(h_old + size_t(r) * plan.H, h_old + size_t(r + 1) * plan.H, xh + size_t(r) * stride + plan.I);
        for (int panel = 0; panel < plan.panels(); panel++) {
            weights.project(u, panel, xh, active);
            for (int b = 0; b < plan.blocks_in(panel); b++) {
                const int block = panel * Plan::BLOCKS + b, lanes = plan.lanes(block);
                const T* own = u + b * C::SLOTS * L;
                T* out = slots + size_t(block) * C::SLOTS * L;
                if (lanes == L)
                    advance(active, block, L, own, h_old, h, out, kept);
                else
                    advance(active, block, lanes, own, h_old, h, out, kept);
            }
        }
        std::fill(h + size_t(active) * plan.H, h + size_t(slice.rows()) * plan.H, T(0));
    }

    void finish() {
        const size_t member = size_t(slice.member) * call.batch;
        for (int r = 0, t = call.steps; r < slice.rows(); r++) {
            while (t > 0 && slice.active(t - 1) <= r) t--;  // its last step
            const T* h = hidden_before<T>(call, slice, t) + size_t(r) * plan.H;
            const size_t at = (member + slice.from + r) * plan.H;
            std::copy(h, h + plan.H, (T*)call.final[0] + at);
            if constexpr (C::STATES == 2) {
                const T* c = cell + size_t(r) * plan.padded;
                std::copy(c, c + plan.H, (T*)call.final[1] + at);
            }
        }
    }

  public:
    static size_t room(const Plan& p, const Slice& s) {
        using M = Scratch<T>;
        const size_t rows = s.rows();
        return ForwardWeights<T, C>::room(p) + M::room(rows * MOST_VECTORS * L) + M::room(rows * (p.I + p.H)) +
               M::room(rows * p.padded) + M::room(rows * p.row_size());
    }

    Forward(const Plan& p, const Slice& s, const Options& o, Scratch<T>& scratch)
        : call(p.call), plan(p), slice(s), options(o), weights(p, scratch, s.member) {
        const size_t rows = s.rows();
        u = scratch.take(rows * MOST_VECTORS * L), xh = scratch.take(rows * (p.I + p.H));
        cell = scratch.take(rows * p.padded), own_slots = scratch.take(rows * p.row_size());
    }

    void run(long first_row) {
        if constexpr (C::STATES == 2) {
            const T* c = (const T*)call.start[1] + (size_t(slice.member) * call.batch + slice.from) * plan.H;
            std::fill(cell, cell + size_t(slice.rows()) * plan.padded, T(0));
            for (int r = 0; r < slice.rows(); r++)
                std::copy(c + r * plan.H, c + (r + 1) * plan.H, cell + r * plan.padded);
        }
        for (int t = 0; t < call.steps; t++) {
            const long row = first_row + slice.starts[t];
            run_step(t, call.slots ? (T*)call.slots + row * plan.row_size() : own_slots,
                     call.cells ? (T*)call.cells + row * plan.padded : nullptr);
        }
        finish();
    }
};

}  // namespace
