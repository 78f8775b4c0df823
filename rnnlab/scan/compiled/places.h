// Where every slot of a compiled step lies, and the products between them.
#pragma once
#include <cmath>
#include <vector>

#include "calls.h"
#include "product.h"
#include "scale.h"

namespace {

// Memory of one thread that is kept from call to call, because fresh pages cost as much as the arithmetic.
template <class T> class Arena {
    std::vector<std::vector<T>> parts;
    size_t part = 0, used = 0;

    T* aligned() { return (T*)((uintptr_t(parts[part].data()) + 63) / 64 * 64); }

  public:
    void reset() { part = used = 0; }

    T* take(size_t count) {
        count = (count + 31) / 16 * 16;  // with room for one vector more
        while (part < parts.size() && used + count + 16 > parts[part].size()) part++, used = 0;
        if (part == parts.size()) parts.emplace_back(std::max(count + 16, size_t(1) << 16)), used = 0;
        T* p = aligned() + used;
        used += count;
        return p;
    }
};

// A slice of one member's batch, which one thread takes through all of time.
struct Part {
    const CompiledCall& call;
    int member, from, to;

    Part(const CompiledCall& c, int task) : call(c), member(task / c.slices) {
        const int slice = task % c.slices;
        from = c.batch * slice / c.slices, to = c.batch * (slice + 1) / c.slices;
    }
    int rows() const { return to - from; }
    int active(int t) const { return std::clamp<int>((call.sizes ? call.sizes[t] : call.batch) - from, 0, rows()); }
};

template <class T> class Places {
    static constexpr int L = LANES<T>;

  protected:
    const CompiledCall& call;
    const Part part;
    Arena<T>& arena;
    int64_t padded[3];
    std::vector<void*> at;
    std::vector<int64_t> ld;
    std::vector<T*> own;                   // by slot: memory of this thread, if it has some
    std::vector<std::vector<T*>> origin;   // by state and phase: what there was before the first step
    std::vector<T*> packed;                // by product
    std::vector<int> after;                // by state: the slot it leaves a step in
    Frame frame;

    int unit_of(int s) const { return call.slot[s].unit; }
    int width_of(int s) const { return call.width[unit_of(s)]; }
    int values(int s) const { return call.slot[s].blocks * width_of(s); }
    bool is_whole(int s) const { return width_of(s) % L == 0; }
    int phase(int t) const { return (call.start + t) % call.dilation; }
    int slot_of(Role role, int state) const {
        for (int s = 0; s < call.slots; s++)
            if (call.slot[s].role == role && call.slot[s].state == state) return s;
        return -1;
    }

    // Rows of blocks side by side, from or to rows whose blocks fill whole vectors.
    INLINE void spread(const T* from, T* to, int s) const {
        const int w = width_of(s), p = padded[unit_of(s)];
        for (int b = 0; b < call.slot[s].blocks; b++)
            for (int i = 0; i < p; i += L) store(to + b * p + i, load(from + b * w + i, std::min(L, w - i)));
    }

    // Add a row of blocks side by side, times a factor, to one whose blocks fill whole vectors.
    void add_row(T* to, const T* from, int s, T factor) const {
        const int w = width_of(s), p = padded[unit_of(s)];
        for (int b = 0; b < call.slot[s].blocks; b++)
            for (int i = 0; i < w; i += L) {
                const int lanes = std::min(L, w - i);
                T* out = to + b * p + i;
                store(out, load(out) + load(from + b * w + i, lanes) * factor);
            }
    }

    // The norm of a row of blocks whose padding is arbitrary.
    T norm_of(const T* p, int s) const {
        const int w = width_of(s), wide = padded[unit_of(s)], blocks = call.slot[s].blocks;
        Vec<T> squares{};
        for (int b = 0; b < blocks; b++)
            for (int i = 0; i < w; i += L) {
                const Vec<T> v = load(p + b * wide + i, std::min(L, w - i));
                squares += v * v;
            }
        const T sum_of = sum<T>(squares);
        if (sum_of > T(1e-25)) return std::sqrt(sum_of);
        std::vector<T> row(size_t(blocks) * w + L, T(0));
        for (int b = 0; b < blocks; b++) std::copy_n(p + b * wide, w, row.data() + b * w);
        int size;
        if (!find_size(row.data(), blocks * w, size)) return 0;
        T fine = 0;
        for (int i = 0; i < blocks * w; i++) fine += std::ldexp(row[i], -size) * std::ldexp(row[i], -size);
        return std::ldexp(std::sqrt(fine), size);
    }

    // Rows of a state as step t left them, or of what there was before the first.
    T* state_after(int state, int t) const {
        if (t < 0) return origin[state][phase(t + call.dilation)];
        const size_t row = (size_t(part.member) * call.steps + t) * call.batch + part.from;
        return (T*)call.external[after[state]].base + row * ld[after[state]];
    }

    // Take up the first states, one for each phase of the dilation.
    void take_up_origin() {
        const size_t rows = part.rows();
        for (int i = 0; i < call.states; i++) {
            origin.emplace_back();
            const int s = after[i];
            for (int p = 0; p < call.dilation; p++) {
                T* to = arena.take(rows * ld[s]);
                const size_t row = (size_t(part.member) * call.dilation + p) * call.batch + part.from;
                const T* from = (const T*)call.before[i] + row * values(s);
                for (size_t r = 0; r < rows; r++) spread(from + r * values(s), to + r * ld[s], s);
                origin[i].push_back(to);
            }
        }
    }

  public:
    Places(const CompiledCall& c, int task, Arena<T>& memory)
        : call(c), part(c, task), arena(memory), at(c.slots), ld(c.slots), own(c.slots), packed(c.products) {
        const size_t rows = part.rows();
        for (int u = 0; u < 3; u++) padded[u] = (c.width[u] + L - 1) / L * L;
        for (int i = 0; i < c.states; i++) after.push_back(slot_of(AFTER, i));
        for (int s = 0; s < c.slots; s++) {
            const Slot& slot = c.slot[s];
            ld[s] = slot.unit < 0 ? 1 : slot.blocks * padded[slot.unit];
            switch (slot.role) {
                case FIXED_COLUMNS:
                    own[s] = arena.take(ld[s]);
                    spread((const T*)c.external[s].base + part.member * c.external[s].member, own[s], s);
                    break;
                case STEP_COLUMNS:
                case SCRATCH_COLUMNS: own[s] = arena.take(ld[s]); break;
                case SUM_COLUMNS:
                    own[s] = arena.take(ld[s]);
                    std::fill(own[s], own[s] + ld[s], T(0));
                    break;
                case INPUT_ROWS:
                    if (!is_whole(s)) own[s] = arena.take(rows * ld[s]);
                    break;
                case KEPT_ROWS:
                case KEPT_NUMBERS:
                case KEPT_COLUMNS:
                    if (!c.external[s].base) own[s] = arena.take(rows * ld[s] + L);
                    break;
                case SCRATCH_ROWS:
                case INPUT_GRADIENT:
                case NEXT:
                case TOTAL: own[s] = arena.take(rows * ld[s]); break;
                case SCRATCH_NUMBERS: own[s] = arena.take(rows + L); break;
                default: break;
            }
            at[s] = own[s];
        }
        take_up_origin();
        const double* numbers = c.numbers + part.member * c.numbers_each;
        frame = {at.data(), ld.data(), padded, c.width, numbers, 0, 1.0, &Places::multiply_of, this};
        for (int p = 0; p < c.products; p++) pack(p);
    }

    // Weights of one product, in panels: for each the rows of all its terms, one after the other.
    void pack(int p) {
        const Product& product = call.product[p];
        const int out = product.out, w = width_of(out), wide = padded[unit_of(out)];
        const int columns = ld[out];
        long depth = 0;
        for (int i = 0; i < product.terms; i++) {
            const Term& term = call.term[product.first_term + i];
            depth += term.blocks * width_of(term.slot);
        }
        T* to = packed[p] = arena.take(size_t(depth) * columns);
        for (int first = 0; first < columns; first += PANEL * L) {
            const int width = std::min(PANEL * L, columns - first);
            for (int i = 0; i < product.terms; i++) {
                const Term& term = call.term[product.first_term + i];
                const Matrix& m = call.matrix[term.matrix];
                const T* base = (const T*)m.base + part.member * m.member;
                const long by_k = term.transposed ? m.column : m.row, by_n = term.transposed ? m.row : m.column;
                const int K = term.blocks * width_of(term.slot);
                for (int k = 0; k < K; k++, to += width)
                    for (int j = 0; j < width; j++) {
                        const int block = (first + j) / wide, o = (first + j) % wide;
                        to[j] = o < w ? base[k * by_k + (block * w + o) * by_n] : T(0);
                    }
            }
        }
    }

    static void multiply_of(void* self, int64_t product) { ((Places*)self)->multiply(product); }

    void multiply(int p) {
        const Product& product = call.product[p];
        if (call.slot[product.out].role == INPUT_GRADIENT && !wants_inputs()) return;
        Segment<T> segments[16];
        int count = 0;
        for (int i = 0; i < product.terms; i++) {
            const Term& term = call.term[product.first_term + i];
            const int s = term.slot, w = width_of(s), p = padded[unit_of(s)];
            const T* rows = (const T*)at[s] + term.block * p;
            if (is_whole(s))
                segments[count++] = {rows, long(ld[s]), int(term.blocks * w)};
            else
                for (int b = 0; b < term.blocks; b++) segments[count++] = {rows + b * p, long(ld[s]), w};
        }
        const int out = product.out, base = product.base;
        const bool same = base >= 0 && call.slot[base].role == FIXED_COLUMNS;  // for all examples
        multiply_segments<T>(base < 0 ? nullptr : (const T*)at[base], base < 0 || same ? 0 : ld[base], (T*)at[out],
                             ld[out], segments, count, packed[p], frame.rows, ld[out] / L);
    }

    bool wants_inputs() const { return call.input_gradient.base || call.input_shadow.base; }

    // Find what lies elsewhere at every step.
    void place(int t) {
        frame.rows = part.active(t);
        for (int s = 0; s < call.slots; s++) {
            const Slot& slot = call.slot[s];
            const External& from = call.external[s];
            const size_t step = size_t(part.member) * call.steps + t;
            switch (slot.role) {
                case STEP_COLUMNS:
                    spread((const T*)from.base + part.member * from.member + t * from.step, own[s], s);
                    break;
                case INPUT_ROWS: {
                    const size_t first = part.member * from.member + t * from.step + part.from * from.row;
                    const T* base = (const T*)from.base + first;
                    if (!own[s]) {
                        at[s] = const_cast<T*>(base), ld[s] = from.row;
                        break;
                    }
                    for (int r = 0; r < frame.rows; r++) spread(base + r * from.row, own[s] + r * ld[s], s);
                    break;
                }
                case KEPT_ROWS:
                case KEPT_NUMBERS:
                    if (!own[s]) at[s] = (T*)from.base + (step * call.batch + part.from) * ld[s];
                    break;
                case KEPT_COLUMNS:
                    if (!own[s]) at[s] = (T*)from.base + step * ld[s];
                    break;
                case AFTER: at[s] = state_after(slot.state, t); break;
                case BEFORE: at[s] = state_after(slot.state, t - int(call.dilation)); break;
                default: break;
            }
        }
    }
};

}  // namespace
