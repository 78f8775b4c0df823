// The way back: one slice of the batch through all of time, last step first.
//
// The running gradient of every example is kept as a mantissa of moderate size and a power of two, so that it neither
// underflows nor becomes subnormal, however long the sequence. What leaves the sweep (gradients of weights, inputs and
// first states) is at its true scale, and where somebody asks besides as shadows, which reach much further down.
#pragma once
#include "forward.h"
#include "scale.h"

namespace {

template <class T, class C> class Backward {
    using Plan = Layout<T, C>;
    static constexpr int L = Plan::L, S = C::STATES;
    const KernelCall& call;
    const Plan& plan;
    const Slice& slice;
    const Options options;
    const int x_blocks;
    T *w_hh, *w_ih, *d, *state, *carry[2], *total[2], *scales, *shrink, *dx, *upstream, *sums;
    std::vector<Scale> scale;
    std::vector<int> powers;  // what `scales` are two to the power of
    std::vector<double> norms[2], exponents;  // of the step at hand, filled up to whole vectors

    // Weights by rows in the order of the slots of each panel, split by columns into parts of up to four vectors.
    void pack(T* out, const T* w, int width, int slot, int count, const int* rows) {
        for (int from = 0; from < width; from += MOST_VECTORS * L) {
            const int columns = std::min(MOST_VECTORS * L, width - from), padded = (columns + L - 1) / L * L;
            for (int panel = 0; panel < plan.panels(); panel++)
                plan.each(panel, slot, count, [&](int, int s, int unit) {
                    const T* row = w + (size_t(rows[s]) * plan.H + unit) * width + from;
                    std::copy(row, row + columns, out);
                    std::fill(out + columns, out + padded, T(0));
                    out += padded;
                });
        }
    }

    // out (rows, vectors) += d W, for `rows` rows of the chunk from `row` on and `count` slots from `slot` on.
    void multiply_back(T* out, int blocks, const T* w, int slot, int count, int chunk_rows, int row, int rows) {
        for (int block = 0; block < blocks; block += MOST_VECTORS) {
            const int vectors = std::min(MOST_VECTORS, blocks - block);
            T* c = out + block * L;
            for (int panel = 0; panel < plan.panels(); panel++) {
                const int width = plan.width(panel) * L, depth = plan.run_length(panel, count);
                const T* a = d + size_t(plan.first(panel)) * L * chunk_rows + size_t(row) * width;
                multiply<T>(c, blocks * L, c, blocks * L, a + plan.run_first(panel, slot), width, 1, w, vectors * L,
                            rows, vectors, depth);
                w += size_t(depth) * vectors * L;
            }
        }
    }

    // A row of gradients that arrive; it lacks a factor of 2^shift.
    const T* arriving(const void* from, size_t at, int& shift) {
        shift = 0;
        if (!from) return nullptr;
        if (!call.shadowed) return (const T*)from + at;
        const double* row = (const double*)from + at;
        int size;
        if (!find_size(row, plan.H, size)) return nullptr;
        for (int i = 0; i < plan.H; i++) upstream[i] = std::ldexp(row[i], -size);
        shift = size - call.shadow_exponent;
        return upstream;
    }

    // A row of gradients on its way out as a shadow: `factor` 2^exponent times what is given.
    void leave(double* out, const T* row, int count, T factor, int exponent) {
        const double power = power_of_two<double>(exponent + call.shadow_exponent);
        for (int i = 0; i < count; i++) out[i] = double(row[i] * factor) * power;
    }

    // Take up the gradients of the final states, at true scale, into the carried ones.
    void start() {
        const size_t at = (size_t(slice.member) * call.batch + slice.from) * plan.H;
        for (int r = 0; r < slice.rows(); r++) {
            for (int s = 0; s < S; s++) {
                int size, shift;
                const T* final = arriving(call.dfinal[s], at + size_t(r) * plan.H, shift);
                T* to = carry[s] + size_t(r) * plan.padded;
                std::fill(to, to + plan.padded, T(0));
                if (!final || !find_size(final, plan.H, size)) continue;
                const T old = scale[r].template admit<T>(size + shift);
                for (int i = 0; i < plan.H; i++) {
                    to[i] = std::ldexp(final[i], shift - scale[r].exponent);
                    if (s) carry[0][size_t(r) * plan.padded + i] *= old;
                }
            }
            shrink[r] = 1;
        }
    }

    // One example's step: total gradients, their norms, and the gradients of its slots.
    void step_row(int t, int r, const T* slots, const T* cells, const T* h_old, int chunk_rows, int row) {
        const int64_t* strides = call.dy_strides;
        int size, shift;
        const size_t place = slice.member * strides[0] + t * strides[1] + (slice.from + r) * strides[2];
        const T* dy = arriving(call.dy, place, shift);
        T old = shrink[r], fresh = 0;
        if (dy && find_size(dy, plan.H, size)) {
            old *= scale[r].template admit<T>(size + shift);
            fresh = power_of_two<T>(shift - scale[r].exponent);
        }
        T* dh_row = carry[0] + size_t(r) * plan.padded;
        T* dc_row = carry[1] + size_t(r) * plan.padded;
        for (int block = 0; block < plan.blocks; block++) {
            const int panel = block / Plan::BLOCKS, at = block * L, lanes = plan.lanes(block);
            T* out = d + size_t(plan.first(panel)) * L * chunk_rows + size_t(row) * plan.width(panel) * L +
                     block % Plan::BLOCKS * C::SLOTS * L;
            Vec<T> dh = load(dh_row + at) * old, dc{}, c{}, c_old{}, total_c{};
            if (fresh != 0) dh += load(dy + at, lanes) * fresh;
            store(total[0] + at, dh);
            if constexpr (S == 2) {
                dc = load(dc_row + at) * old;
                c = load(cells + at);
                c_old = t ? load(cells + at - size_t(slice.active(t - 1)) * plan.padded) : first_cell(r, block);
            }
            const T* slot = slots + size_t(block) * C::SLOTS * L;
            const Vec<T> h = load(h_old + size_t(r) * plan.H + at, lanes);
            if (plan.dense(block)) {
                T wide[C::SLOTS * L], wide_d[C::SLOTS * L];
                spread(slot, wide, C::SLOTS, lanes);
                C::backward(options, wide, h, c_old, c, wide_d, dh, dc, total_c);
                gather(wide_d, out, C::SLOTS, lanes);
            } else {
                C::backward(options, slot, h, c_old, c, out, dh, dc, total_c);
            }
            store(dh_row + at, dh);
            if constexpr (S == 2) store(dc_row + at, dc), store(total[1] + at, total_c);
        }
        powers[row] = scale[r].exponent;
        scales[row] = power_of_two<T>(powers[row]);
        report(t, r);
    }

    Vec<T> first_cell(int r, int block) const {
        const T* c = (const T*)call.start[1] + (size_t(slice.member) * call.batch + slice.from + r) * plan.H;
        return load(c + block * L, plan.lanes(block));
    }

    // Note one example's norms, hand out its total gradients, and fix the scale of its next step.
    void report(int t, int r) {
        const size_t at = (size_t(slice.member) * call.steps + t) * call.batch + slice.from + r;
        T most = 0;
        for (int s = 0; s < S; s++) {
            const T n = norm(total[s], plan.padded);
            most = n > most || n != n ? n : most;
            norms[s][r] = n;
            if (call.mantissas[s]) {
                std::copy(total[s], total[s] + plan.H, (T*)call.mantissas[s] + at * plan.H);
                call.exponents[s][at] = scale[r].exponent;
            }
        }
        exponents[r] = scale[r].exponent;
        shrink[r] = scale[r].recentre(most);
    }

    // log2 of the norms of all examples at once; NaN for those that are not active.
    void write_norms(int t) {
        constexpr int N = LANES<double>;
        const size_t at = (size_t(slice.member) * call.steps + t) * call.batch + slice.from;
        for (int s = 0; s < S; s++) {
            double* out = call.log2_norms[s] + at;
            for (int r = 0; r < slice.active(t); r += N)
                store(out + r, log2(load(&norms[s][r])) + load(&exponents[r]), std::min(N, slice.active(t) - r));
            std::fill(out + slice.active(t), out + slice.rows(), NAN);
        }
    }

    // Weight gradients of a chunk, at true scale: (h, 1, x)^T d, the scale of each row put into its left side.
    void add_weight_gradients(int from, int to, int rows) {
        const int J = plan.J;
        for (int t = from; t < to; t++) {
            const int first = slice.starts[t] - slice.starts[from];
            const T* h = hidden_before<T>(call, slice, t);
            for (int r = 0; r < slice.active(t); r++) {
                T* out = state + size_t(first + r) * J;
                for (int i = 0; i < plan.H; i++) out[i] = h[size_t(r) * plan.H + i] * scales[first + r];
                out[plan.H] = scales[first + r];
            }
            gather_inputs<T>(call, slice, t, state + size_t(first) * J + plan.H + 1, J, scales + first);
        }
        for (int panel = 0; panel < plan.panels(); panel++) {
            const int width = plan.width(panel) * L, first = plan.part_first(panel, C::H_FIRST) * L;
            const T* b = d + size_t(plan.first(panel)) * L * rows;
            T* out = sums + size_t(plan.first(panel)) * L * J;
            T *h = out + first, *x = out + size_t(plan.H) * width;
            const int h_width = plan.part_width(panel, C::H_COUNT);
            multiply<T>(h, width, h, width, state, 1, J, b + first, width, plan.H, h_width, rows);
            multiply<T>(x, width, x, width, state + plan.H, 1, J, b, width, 1 + plan.I, plan.width(panel), rows);
        }
    }

    bool reads_inputs() const { return call.dx || call.shadow_dx; }

    void write_input_gradients(int from, int to, int rows) {
        const int width = x_blocks * L;
        std::fill(dx, dx + size_t(rows) * width, T(0));
        multiply_back(dx, x_blocks, w_ih, C::X_FIRST, C::X_COUNT, rows, 0, rows);
        for (int t = from; t < to; t++) {
            const size_t at = ((size_t(slice.member) * call.steps + t) * call.batch + slice.from) * plan.I;
            const size_t active = size_t(slice.active(t)) * plan.I, all = size_t(slice.rows()) * plan.I;
            T* out = (T*)call.dx + at;
            double* shadow = call.shadow_dx + at;
            for (int r = 0; r < slice.active(t); r++) {
                const int row = slice.starts[t] - slice.starts[from] + r;
                const T *own = dx + size_t(row) * width, factor = scales[row];
                if (call.dx)
                    for (int i = 0; i < plan.I; i++) out[size_t(r) * plan.I + i] = own[i] * factor;
                if (call.shadow_dx) leave(shadow + size_t(r) * plan.I, own, plan.I, 1, powers[row]);
            }
            if (call.dx) std::fill(out + active, out + all, T(0));
            if (call.shadow_dx) std::fill(shadow + active, shadow + all, 0.0);
        }
    }

    void finish() {
        for (int s = 0; s < S; s++) {
            for (int r = 0; r < slice.rows(); r++) {
                const size_t at = (size_t(slice.member) * call.batch + slice.from + r) * plan.H;
                const T* own = carry[s] + size_t(r) * plan.padded;
                T* out = (T*)call.dstart[s] + at;
                for (int i = 0; i < plan.H; i++) out[i] = std::ldexp(own[i] * shrink[r], scale[r].exponent);
                if (call.shadow_dstart[s]) leave(call.shadow_dstart[s] + at, own, plan.H, shrink[r], scale[r].exponent);
            }
        }
    }

  public:
    static size_t room(const Plan& p, const Slice& s) {
        using M = Scratch<T>;
        const size_t rows = CHUNK_ROWS + s.rows(), x = (p.I + L - 1) / L * L, G = size_t(C::SLOTS) * p.H;
        return M::room(G * p.padded) + M::room(G * x) + M::room(rows * p.row_size()) + M::room(rows * p.J) +
               2 * S * M::room(size_t(s.rows()) * p.padded) + 2 * S * M::room(p.padded) + M::room(rows) +
               M::room(s.rows()) + M::room(rows * x) + M::room(p.padded);
    }

    Backward(const Plan& p, const Slice& s, const Options& o, Scratch<T>& scratch, T* sums)
        : call(p.call), plan(p), slice(s), options(o), x_blocks((p.I + L - 1) / L), sums(sums), scale(s.rows()) {
        const size_t rows = CHUNK_ROWS + s.rows(), G = size_t(C::SLOTS) * p.H, weights = size_t(C::X_COUNT) * p.H;
        for (auto list : {&norms[0], &norms[1], &exponents}) list->resize(s.rows() + LANES<double>);
        w_hh = scratch.take(G * p.padded), w_ih = scratch.take(G * x_blocks * L);
        d = scratch.take(rows * p.row_size()), state = scratch.take(rows * p.J);
        for (int i = 0; i < S; i++)
            carry[i] = scratch.take(size_t(s.rows()) * p.padded), total[i] = scratch.take(p.padded);
        if (S == 1) carry[1] = total[1] = nullptr;
        scales = scratch.take(rows), shrink = scratch.take(s.rows()), dx = scratch.take(rows * x_blocks * L);
        upstream = scratch.take(p.padded), powers.resize(rows);
        pack(w_hh, (const T*)call.w_hh + s.member * weights * p.H, p.H, C::H_FIRST, C::H_COUNT, C::h_rows);
        if (reads_inputs())
            pack(w_ih, (const T*)call.w_ih + s.member * weights * p.I, p.I, C::X_FIRST, C::X_COUNT, C::x_rows);
    }

    void run(long first_row) {
        start();
        for (size_t i = slice.chunks.size() - 1; i-- > 0;) {
            const int from = slice.chunks[i], to = slice.chunks[i + 1];
            const int rows = slice.starts[to] - slice.starts[from];
            for (int t = to; t-- > from;) {
                const int row = slice.starts[t] - slice.starts[from];
                const T* slots = (const T*)call.slots + (first_row + slice.starts[t]) * plan.row_size();
                const T* cells = (const T*)call.cells + (first_row + slice.starts[t]) * plan.padded;
                const T* h_old = hidden_before<T>(call, slice, t);
                for (int r = 0; r < slice.active(t); r++)
                    step_row(t, r, slots + r * plan.row_size(), cells + size_t(r) * plan.padded, h_old, rows, row + r);
                if (call.log2_norms[0]) write_norms(t);
                multiply_back(carry[0], plan.blocks, w_hh, C::H_FIRST, C::H_COUNT, rows, row, slice.active(t));
            }
            if (sums) add_weight_gradients(from, to, rows);
            if (reads_inputs()) write_input_gradients(from, to, rows);
        }
        finish();
    }
};

// Add the slices' sums up, in their order, and lay them out as torch keeps weights.
template <class T, class C> void write_weight_gradients(const Layout<T, C>& plan, int member, int panel) {
    using Plan = Layout<T, C>;
    const KernelCall& c = plan.call;
    const int J = plan.J, H = plan.H, I = plan.I, width = plan.width(panel) * Plan::L;
    const size_t each = plan.row_size() * J, weights = size_t(C::X_COUNT) * H * member;
    T* first = (T*)c.sums + member * c.slices * each + size_t(plan.first(panel)) * Plan::L * J;
    for (int s = 1; s < c.slices; s++)
        for (size_t i = 0; i < size_t(J) * width; i++) first[i] += first[s * each + i];
    plan.each(panel, C::H_FIRST, C::H_COUNT, [&](int at, int slot, int unit) {
        const size_t row = weights + size_t(C::h_rows[slot]) * H + unit;
        for (int j = 0; j < H; j++) ((T*)c.dw_hh)[row * H + j] = first[size_t(j) * width + at];
        if (c.db_hh) ((T*)c.db_hh)[row] = first[size_t(H) * width + at];
    });
    plan.each(panel, C::X_FIRST, C::X_COUNT, [&](int at, int slot, int unit) {
        const size_t row = weights + size_t(C::x_rows[slot]) * H + unit;
        for (int i = 0; i < I; i++) ((T*)c.dw_ih)[row * I + i] = first[size_t(H + 1 + i) * width + at];
        if (c.db_ih) ((T*)c.db_ih)[row] = first[size_t(H) * width + at];
    });
}

}  // namespace
