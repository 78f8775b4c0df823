// The way back: one slice of the batch through all of time, last step first.
//
// The running gradient of every example is kept as a mantissa of moderate size and a power of two, so that it neither
// underflows nor becomes subnormal, however long the sequence. What leaves the sweep (gradients of weights, inputs and
// first states) is at its true scale.
#pragma once
#include "forward.h"

namespace {

// 2^e; zero and infinity beyond the normal numbers.
template <class T> T power_of_two(int e) {
    if (e < 1 - Simd<T>::BIAS) return 0;
    return e > Simd<T>::BIAS ? std::numeric_limits<T>::infinity() : std::ldexp(T(1), e);
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
        const int by = std::ilogb(norm);
        if (std::abs(by) <= LEEWAY) return 1;
        exponent += by;
        return power_of_two<T>(-by);
    }
};

// The power of two below the largest of `count` values, and false if all are zero. What is not finite counts as one.
template <class T> bool find_size(const T* p, int count, int& size) {
    Vec<T> most{}, odd{};  // a maximum loses NaN, zero times it does not
    for (int i = 0; i < count; i += LANES<T>) {
        const Vec<T> v = load(p + i, count - i < LANES<T> ? count - i : LANES<T>);
        most = larger(absolute<T>(v), most);
        odd += v * T(0);
    }
    const T m = largest<T>(most);
    const bool finite = sum<T>(odd) == 0;
    size = finite && m > 0 ? std::ilogb(m) : 0;
    return !finite || m >= std::numeric_limits<T>::min();
}

// Euclidean norm; squares that would underflow are taken again at another scale.
template <class T> T norm(const T* p, int count) {
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

template <class T, class C> class Backward {
    using Plan = Layout<T, C>;
    static constexpr int L = Plan::L, S = C::STATES;
    const Call& call;
    const Plan& plan;
    const Slice& slice;
    const Options options;
    const std::vector<Run> h_runs, x_runs;
    int x_blocks;
    T *w_hh, *w_ih, *d, *state, *carry[2], *total[2], *scales, *shrink, *dx, *sums;
    std::vector<Scale> scale;

    // Weights by rows in the order of the runs, split into panels of up to four vectors of columns.
    void pack(T* out, const T* w, int width, const std::vector<Run>& runs, const int* rows) {
        for (int from = 0; from < width; from += MOST_VECTORS * L) {
            const int count = std::min(MOST_VECTORS * L, width - from), padded = (count + L - 1) / L * L;
            for (const Run& run : runs)
                for (int k = 0; k < run.depth; k++, out += padded) {
                    const int column = run.column + k / L, unit = column / C::SLOTS * L + k % L;
                    const T* row = w + (size_t(rows[column % C::SLOTS]) * plan.H + unit) * width + from;
                    std::copy(row, row + count, out);
                    std::fill(out + count, out + padded, T(0));
                }
        }
    }

    // out (rows, vectors) += d W, for `rows` rows of the chunk from `row` on.
    void multiply_back(T* out, int blocks, const T* w, const std::vector<Run>& runs, int chunk_rows, int row, int rows) {
        for (int block = 0; block < blocks; block += MOST_VECTORS) {
            const int vectors = std::min(MOST_VECTORS, blocks - block);
            for (const Run& run : runs) {
                const int panel = run.column / (Plan::BLOCKS * C::SLOTS), width = plan.width(panel) * L;
                const T* a = d + size_t(plan.first(panel)) * L * chunk_rows + size_t(row) * width +
                             (run.column - plan.first(panel)) * L;
                multiply<T>(out + block * L, blocks * L, out + block * L, blocks * L, a, width, 1, w, vectors * L, rows, vectors, run.depth);
                w += size_t(run.depth) * vectors * L;
            }
        }
    }

    // Take up the gradients of the final states, at true scale, into the carried ones.
    void start() {
        const size_t at = (size_t(slice.member) * call.batch + slice.from) * plan.H;
        for (int r = 0; r < slice.rows(); r++) {
            for (int s = 0; s < S; s++) {
                const T* final = call.dfinal[s] ? (const T*)call.dfinal[s] + at + size_t(r) * plan.H : nullptr;
                T* to = carry[s] + size_t(r) * plan.padded;
                std::fill(to, to + plan.padded, T(0));
                int size;
                if (!final || !find_size(final, plan.H, size)) continue;
                const T old = scale[r].template admit<T>(size);
                for (int i = 0; i < plan.H; i++) {
                    to[i] = std::ldexp(final[i], -scale[r].exponent);
                    if (s) carry[0][size_t(r) * plan.padded + i] *= old;
                }
            }
            shrink[r] = 1;
        }
    }

    // One example's step: total gradients, their norms, and the gradients of its slots.
    void step_row(int t, int r, const T* slots, const T* cells, const T* h_old, int chunk_rows, int row) {
        const T* dy = call.dy ? (const T*)call.dy + slice.member * call.dy_strides[0] + t * call.dy_strides[1] +
                                    (slice.from + r) * call.dy_strides[2]
                              : nullptr;
        int size;
        T old = shrink[r], fresh = 0;
        if (dy && find_size(dy, plan.H, size)) {
            old *= scale[r].template admit<T>(size);
            fresh = power_of_two<T>(-scale[r].exponent);
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
            C::backward(options, slots + size_t(block) * C::SLOTS * L, load(h_old + size_t(r) * plan.H + at, lanes), c_old, c,
                        out, dh, dc, total_c);
            store(dh_row + at, dh);
            if constexpr (S == 2) store(dc_row + at, dc), store(total[1] + at, total_c);
        }
        scales[row] = power_of_two<T>(scale[r].exponent);
        report(t, r);
    }

    Vec<T> first_cell(int r, int block) const {
        const T* c = (const T*)call.start[1] + (size_t(slice.member) * call.batch + slice.from + r) * plan.H;
        return load(c + block * L, plan.lanes(block));
    }

    // Hand out one example's norms and total gradients, and fix the scale of its next step.
    void report(int t, int r) {
        const size_t at = (size_t(slice.member) * call.steps + t) * call.batch + slice.from + r;
        T most = 0;
        for (int s = 0; s < S; s++) {
            const T n = norm(total[s], plan.padded);
            most = n > most || n != n ? n : most;
            if (call.log2_norms[s]) call.log2_norms[s][at] = std::log2(double(n)) + scale[r].exponent;
            if (call.mantissas[s]) {
                std::copy(total[s], total[s] + plan.H, (T*)call.mantissas[s] + at * plan.H);
                call.exponents[s][at] = scale[r].exponent;
            }
        }
        shrink[r] = scale[r].recentre(most);
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
            const int width = plan.width(panel), blocks = width / C::SLOTS;
            const T* b = d + size_t(plan.first(panel)) * L * rows;
            T* out = sums + size_t(plan.first(panel)) * L * J;
            T *h = out + C::H_FIRST * L, *x = out + size_t(plan.H) * width * L;
            multiply<T>(h, width * L, h, width * L, state, 1, J, b + C::H_FIRST * L, width * L, plan.H,
                        blocks * C::H_COUNT, rows);
            multiply<T>(x, width * L, x, width * L, state + plan.H, 1, J, b, width * L, 1 + plan.I, width, rows);
        }
    }

    void write_input_gradients(int from, int to, int rows) {
        const int width = x_blocks * L;
        std::fill(dx, dx + size_t(rows) * width, T(0));
        multiply_back(dx, x_blocks, w_ih, x_runs, rows, 0, rows);
        for (int t = from; t < to; t++) {
            T* out = (T*)call.dx + ((size_t(slice.member) * call.steps + t) * call.batch + slice.from) * plan.I;
            for (int r = 0; r < slice.active(t); r++) {
                const int row = slice.starts[t] - slice.starts[from] + r;
                for (int i = 0; i < plan.I; i++) out[size_t(r) * plan.I + i] = dx[size_t(row) * width + i] * scales[row];
            }
            std::fill(out + size_t(slice.active(t)) * plan.I, out + size_t(slice.rows()) * plan.I, T(0));
        }
    }

    void finish() {
        for (int s = 0; s < S; s++) {
            T* out = (T*)call.dstart[s] + (size_t(slice.member) * call.batch + slice.from) * plan.H;
            for (int r = 0; r < slice.rows(); r++)
                for (int i = 0; i < plan.H; i++)
                    out[size_t(r) * plan.H + i] =
                        std::ldexp(carry[s][size_t(r) * plan.padded + i] * shrink[r], scale[r].exponent);
        }
    }

    void mark_inactive(int t) {
        const size_t at = (size_t(slice.member) * call.steps + t) * call.batch + slice.from;
        for (int s = 0; s < S; s++)
            if (call.log2_norms[s])
                std::fill(call.log2_norms[s] + at + slice.active(t), call.log2_norms[s] + at + slice.rows(), NAN);
    }

  public:
    static size_t room(const Plan& p, const Slice& s) {
        using M = Scratch<T>;
        const size_t rows = CHUNK_ROWS + s.rows(), x = (p.I + L - 1) / L * L, G = size_t(C::SLOTS) * p.H;
        return M::room(G * p.padded) + M::room(G * x) + M::room(rows * p.row_size()) + M::room(rows * p.J) +
               2 * S * M::room(size_t(s.rows()) * p.padded) + 2 * S * M::room(p.padded) + M::room(rows) +
               M::room(s.rows()) + M::room(rows * x);
    }

    Backward(const Plan& p, const Slice& s, const Options& o, Scratch<T>& scratch, T* sums)
        : call(p.call), plan(p), slice(s), options(o), h_runs(p.runs(C::H_FIRST, C::H_COUNT)),
          x_runs(p.runs(C::X_FIRST, C::X_COUNT)), x_blocks((p.I + L - 1) / L), sums(sums), scale(s.rows()) {
        const size_t rows = CHUNK_ROWS + s.rows(), G = size_t(C::SLOTS) * p.H, weights = size_t(C::X_COUNT) * p.H;
        w_hh = scratch.take(G * p.padded), w_ih = scratch.take(G * x_blocks * L);
        d = scratch.take(rows * p.row_size()), state = scratch.take(rows * p.J);
        for (int i = 0; i < S; i++)
            carry[i] = scratch.take(size_t(s.rows()) * p.padded), total[i] = scratch.take(p.padded);
        if (S == 1) carry[1] = total[1] = nullptr;
        scales = scratch.take(rows), shrink = scratch.take(s.rows()), dx = scratch.take(rows * x_blocks * L);
        pack(w_hh, (const T*)call.w_hh + s.member * weights * p.H, p.H, h_runs, C::h_rows);
        if (call.dx) pack(w_ih, (const T*)call.w_ih + s.member * weights * p.I, p.I, x_runs, C::x_rows);
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
                mark_inactive(t);
                multiply_back(carry[0], plan.blocks, w_hh, h_runs, rows, row, slice.active(t));
            }
            if (sums) add_weight_gradients(from, to, rows);
            if (call.dx) write_input_gradients(from, to, rows);
        }
        finish();
    }
};

// Add the slices' sums up, in their order, and lay them out as torch keeps weights.
template <class T, class C> void write_weight_gradients(const Layout<T, C>& plan, int member, int panel) {
    using Plan = Layout<T, C>;
    const Call& c = plan.call;
    const int J = plan.J, H = plan.H, I = plan.I, width = plan.width(panel) * Plan::L;
    const size_t each = plan.row_size() * J, weights = size_t(C::X_COUNT) * H * member;
    T* first = (T*)c.sums + member * c.slices * each + size_t(plan.first(panel)) * Plan::L * J;
    for (int s = 1; s < c.slices; s++)
        for (size_t i = 0; i < size_t(J) * width; i++) first[i] += first[s * each + i];
    for (int column = 0; column < plan.width(panel); column++) {
        const int block = (plan.first(panel) + column) / C::SLOTS, slot = column % C::SLOTS;
        for (int lane = 0; lane < plan.lanes(block); lane++) {
            const int unit = block * Plan::L + lane;
            const T* from = first + column * Plan::L + lane;
            if (slot >= C::H_FIRST && slot < C::H_FIRST + C::H_COUNT) {
                const size_t row = weights + size_t(C::h_rows[slot]) * H + unit;
                for (int j = 0; j < H; j++) ((T*)c.dw_hh)[row * H + j] = from[size_t(j) * width];
                if (c.db_hh) ((T*)c.db_hh)[row] = from[size_t(H) * width];
            }
            if (slot >= C::X_FIRST && slot < C::X_FIRST + C::X_COUNT) {
                const size_t row = weights + size_t(C::x_rows[slot]) * H + unit;
                for (int i = 0; i < I; i++) ((T*)c.dw_ih)[row * I + i] = from[size_t(H + 1 + i) * width];
                if (c.db_ih) ((T*)c.db_ih)[row] = from[size_t(H) * width];
            }
        }
    }
}

}  // namespace
