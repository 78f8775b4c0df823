// A compiled cell through all of time and back, with exponents, norms and the gradients of the weights.
//
// As in native/backward.h, the running gradient of every example is a mantissa of moderate size and a power of two.
#pragma once
#include "weight_sums.h"

namespace {

template <class T> class StepsBackward : public Places<T> {
    using Base = Places<T>;
    using Base::arena, Base::at, Base::call, Base::frame, Base::ld, Base::own, Base::padded, Base::part, Base::phase;
    static constexpr int L = LANES<T>, NOTHING = -1000000;  // the size of a gradient that is zero
    std::vector<Group> groups;
    std::vector<T*> left, operand;                  // by group: rows of the forward pass, of gradients
    std::vector<int> tangent, next, total;          // slots by state
    int input_gradient = -1;
    std::vector<std::vector<T*>> carry;             // by state and phase
    std::vector<std::vector<Scale>> scale;          // by phase and example
    std::vector<std::vector<T>> shrink;             // likewise: what the carried gradients still lack
    std::vector<T> scales, row, most;               // by example
    std::vector<int> sizes;
    std::vector<const T*> come;                     // by example: gradients of its outputs, none where zero
    std::vector<double> norms, exponents;
    std::vector<int> powers;  // exponents of the step at hand: `report` fixes those of the next
    T* sums;
    int taken = 0;  // rows of operands that wait for their product

    int values(int s) const { return Base::values(s); }
    // A row of gradients that arrive, side by side; it lacks a factor of 2^shift. None if it is zero.
    const T* arriving(const void* from, size_t place, int count, int& size, int& shift) {
        size = shift = 0;
        if (!from) return nullptr;
        if (!call.shadowed) {
            const T* p = (const T*)from + place;
            return find_size(p, count, size) ? p : nullptr;
        }
        const double* p = (const double*)from + place;
        if (!find_size(p, count, size)) return nullptr;
        row.resize(count);
        for (int i = 0; i < count; i++) row[i] = std::ldexp(p[i], -size);
        shift = size - int(call.shadow_exponent);
        if (!find_size(row.data(), count, size)) return nullptr;
        return row.data();
    }

    // Where the final gradient of a state, in one phase, of an example lies.
    size_t final_place(int state, int p, int r) const {
        return ((size_t(part.member) * call.dilation + p) * call.batch + part.from + r) * values(tangent[state]);
    }

    const T* arriving_output(int t, int r, int& size, int& shift) {
        const External& up = call.upstream;
        const size_t place = part.member * up.member + t * up.step + (part.from + r) * up.row;
        return arriving(up.base, place, values(tangent[0]), size, shift);
    }

    // Let gradients of these sizes in: the factor by which each example's carried ones are to be multiplied.
    T admit(int p, int r, int size) { return size == NOTHING ? T(1) : scale[p][r].template admit<T>(size); }

    void start() {
        const int rows = part.rows();
        for (int p = 0; p < call.dilation; p++) {
            int all = NOTHING;
            std::vector<int> largest(rows, NOTHING);
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < call.states; i++) {
                    int size, shift;
                    const int count = values(tangent[i]);
                    if (arriving(call.upstream_final[i], final_place(i, p, r), count, size, shift))
                        largest[r] = std::max(largest[r], size + shift);
                    all = std::max(all, largest[r]);
                }
            for (int r = 0; r < rows; r++) {
                admit(p, r, call.coupled ? all : largest[r]);
                for (int i = 0; i < call.states; i++) {
                    const int s = tangent[i];
                    T* to = carry[i][p] + r * ld[s];
                    std::fill(to, to + ld[s], T(0));
                    int own_size, shift;
                    const T* from = arriving(call.upstream_final[i], final_place(i, p, r), values(s), own_size, shift);
                    if (!from) continue;
                    const int w = Base::width_of(s), wide = padded[Base::unit_of(s)];
                    for (int k = 0; k < values(s); k++)
                        to[k / w * wide + k % w] = std::ldexp(from[k], shift - scale[p][r].exponent);
                }
                shrink[p][r] = 1;
            }
        }
    }

    // Bring the carried gradients to this step's scale, and let those of the outputs in.
    void admit_step(int t) {
        const int p = phase(t), active = frame.rows;
        sizes.assign(part.rows(), NOTHING), come.assign(part.rows(), nullptr);
        int largest = NOTHING;
        for (int r = 0; call.upstream.base && r < active; r++) {
            int size, shift;
            if (!(come[r] = arriving_output(t, r, size, shift))) continue;
            sizes[r] = size + shift;
            largest = std::max(largest, sizes[r]);
        }
        for (int r = 0; r < (call.coupled ? part.rows() : active); r++)
            bring(p, r, shrink[p][r] * admit(p, r, call.coupled ? largest : sizes[r]));
        for (int r = 0; r < active; r++) {
            const int exponent = scale[p][r].exponent;
            scales[r] = power_of_two<T>(exponent), powers[r] = exponent;
            if (!come[r]) continue;
            int size, shift = 0;
            const T* from = call.shadowed ? arriving_output(t, r, size, shift) : come[r];
            Base::add_row(carry[0][p] + r * ld[tangent[0]], from, tangent[0], power_of_two<T>(shift - exponent));
        }
        frame.scale = call.coupled && active ? power_of_two<double>(scale[p][0].exponent) : 1.0;
    }

    void bring(int p, int r, T factor) {
        shrink[p][r] = 1;
        if (factor == 1) return;
        for (int i = 0; i < call.states; i++) {
            T* c = carry[i][p] + r * ld[tangent[i]];
            for (int k = 0; k < ld[tangent[i]]; k += L) store(c + k, load(c + k) * factor);
        }
    }

    // Note the norms of this step's total gradients, hand them out, and fix the scale of what goes on.
    void report(int t) {
        const int p = phase(t), active = frame.rows;
        most.assign(part.rows(), 0);
        const size_t place = (size_t(part.member) * call.steps + t) * call.batch + part.from;
        for (int i = 0; i < call.states; i++) {
            const int s = total[i];
            const int w = Base::width_of(s), wide = padded[Base::unit_of(s)];
            norms.assign(part.rows() + LANES<double>, 0);
            for (int r = 0; r < active; r++) {
                const T* rows = (const T*)at[s] + r * ld[s];
                const T n = Base::norm_of(rows, s);
                norms[r] = n;
                most[r] = n > most[r] || n != n ? n : most[r];
                if (!call.mantissas[i]) continue;
                T* out = (T*)call.mantissas[i] + (place + r) * values(s);
                for (int k = 0; k < values(s); k++) out[k] = rows[k / w * wide + k % w];
                call.exponents[i][place + r] = scale[p][r].exponent;
            }
            if (!call.log2_norms[i]) continue;
            double* out = call.log2_norms[i] + place;
            constexpr int N = LANES<double>;
            for (int r = 0; r < active; r++) exponents[r] = scale[p][r].exponent;
            for (int r = 0; r < active; r += N)
                store(out + r, log2(load(&norms[r])) + load(&exponents[r]), std::min(N, active - r));
            std::fill(out + active, out + part.rows(), NAN);
        }
        T all = 0;
        for (const T m : most) all = m > all || m != m ? m : all;
        for (int r = 0; r < (call.coupled ? part.rows() : active); r++)
            shrink[p][r] = scale[p][r].template recentre<T>(call.coupled ? all : most[r]);
    }

    // Rows of the forward pass, at the scale of the gradients that they are held against.
    void take_left_sides() {
        for (size_t g = 0; g < groups.size(); g++) {
            const Group& group = groups[g];
            for (int r = 0; r < frame.rows; r++) {
                T* out = left[g] + size_t(taken + r) * group.width;
                for (int p : group.pairs) {
                    const Pair& pair = call.pair[p];
                    if (pair.left < 0) {
                        *out++ = scales[r];
                        continue;
                    }
                    const int s = pair.left, w = Base::width_of(s), wide = padded[Base::unit_of(s)];
                    const T* from = (const T*)at[s] + r * ld[s] + pair.block * wide;
                    for (int b = 0; b < pair.blocks; b++, out += w)
                        for (int k = 0; k < w; k += L)
                            store(out + k, load(from + b * wide + k) * scales[r], std::min(L, w - k));
                }
            }
        }
    }

    void multiply_operands() {
        for (size_t g = 0; g < groups.size(); g++) {
            const Group& group = groups[g];
            const int wide = ld[group.operand], vectors = wide / L;
            T* out = sums + group.sums;
            for (int v = 0; v < vectors; v += MOST_VECTORS) {
                T* c = out + v * L;
                multiply<T>(c, wide, c, wide, left[g], 1, group.width, operand[g] + v * L, wide, group.width,
                            std::min(MOST_VECTORS, vectors - v), taken);
            }
        }
        taken = 0;
    }

    void write_inputs(int t) {
        if (input_gradient < 0 || !Base::wants_inputs()) return;
        const int s = input_gradient, count = values(s), w = Base::width_of(s), wide = padded[Base::unit_of(s)];
        const External &to = call.input_gradient, &shadow = call.input_shadow;
        for (int r = 0; r < part.rows(); r++) {
            const bool here = r < frame.rows;
            const T* from = (const T*)at[s] + r * ld[s];
            const auto place = [&](const External& e) {
                return part.member * e.member + t * e.step + (part.from + r) * e.row;
            };
            const double power = here && shadow.base ? shadow_power(powers[r]) : 0;
            for (int k = 0; k < count; k++) {
                const T value = here ? from[k / w * wide + k % w] : T(0);
                if (to.base) ((T*)to.base)[place(to) + k] = here ? value * scales[r] : T(0);
                if (shadow.base) ((double*)shadow.base)[place(shadow) + k] = here ? double(value) * power : 0.0;
            }
        }
    }

    double shadow_power(int exponent) const { return power_of_two<double>(exponent + int(call.shadow_exponent)); }

    void finish() {
        for (int i = 0; i < call.states; i++) {
            const int s = tangent[i], w = Base::width_of(s), wide = padded[Base::unit_of(s)];
            for (int p = 0; p < call.dilation; p++)
                for (int r = 0; r < part.rows(); r++) {
                    const T* from = carry[i][p] + r * ld[s];
                    const size_t place = final_place(i, p, r);
                    for (int k = 0; k < values(s); k++) {
                        const T value = from[k / w * wide + k % w] * shrink[p][r];
                        const int exponent = scale[p][r].exponent;
                        if (call.start_gradient[i]) ((T*)call.start_gradient[i])[place + k] = std::ldexp(value, exponent);
                        if (call.start_shadow[i]) call.start_shadow[i][place + k] = double(value) * shadow_power(exponent);
                    }
                }
        }
    }

  public:
    StepsBackward(const CompiledCall& c, int task, Arena<T>& memory, T* all_sums)
        : Base(c, task, memory), groups(groups_of(c)), sums(all_sums) {
        const size_t rows = part.rows();
        for (Group& g : groups) {
            const size_t all = OPERAND_ROWS + rows;
            left.push_back(arena.take(all * g.width));
            operand.push_back(arena.take(all * ld[g.operand]));
        }
        size_t place = 0;
        for (Group& g : groups) g.sums = place, place += size_t(g.width) * ld[g.operand];
        for (int s = 0; s < c.slots; s++) {
            if (c.slot[s].role == INPUT_GRADIENT) input_gradient = s;
            const auto has = [&](const Group& g) { return g.operand == s; };
            if (c.slot[s].role == OPERAND && std::none_of(groups.begin(), groups.end(), has))
                at[s] = arena.take(rows * ld[s]);  // nobody wants the gradient of its weight
        }
        for (int i = 0; i < c.states; i++) {
            tangent.push_back(Base::slot_of(TANGENT, i)), next.push_back(Base::slot_of(NEXT, i));
            total.push_back(Base::slot_of(TOTAL, i));
            if (total[i] < 0) total[i] = tangent[i];
            carry.emplace_back();
            for (int p = 0; p < c.dilation; p++) carry[i].push_back(arena.take(rows * ld[tangent[i]]));
        }
        scale.assign(c.dilation, std::vector<Scale>(rows)), shrink.assign(c.dilation, std::vector<T>(rows, 1));
        scales.assign(rows, 1), powers.assign(rows, 0), exponents.assign(rows + LANES<double>, 0);
    }

    void run() {
        start();
        for (int t = call.steps; t-- > 0;) {
            Base::place(t);
            const int p = phase(t);
            for (size_t g = 0; g < groups.size(); g++)
                at[groups[g].operand] = operand[g] + size_t(taken) * ld[groups[g].operand];
            admit_step(t);
            for (int i = 0; i < call.states; i++) at[tangent[i]] = carry[i][p];
            call.run_step(&frame);
            report(t);
            if (!groups.empty()) take_left_sides();
            write_inputs(t);
            for (int i = 0; i < call.states; i++) {
                if (frame.rows == 0) break;
                T *c = carry[i][p], *n = own[next[i]];
                std::copy(c + frame.rows * ld[next[i]], c + part.rows() * ld[next[i]], n + frame.rows * ld[next[i]]);
                std::swap(carry[i][p], own[next[i]]);
                at[next[i]] = own[next[i]];
            }
            if (!groups.empty() && (taken += frame.rows) >= OPERAND_ROWS) multiply_operands();
        }
        if (taken) multiply_operands();
        for (int s = 0; s < call.slots; s++)  // gradients that were added up column by column
            if (call.slot[s].role == SUM_COLUMNS) add_columns(s);
        finish();
    }

    void add_columns(int s) {
        const Matrix& to = call.weight_gradient[call.slot[s].state];
        if (!to.base) return;
        const int w = Base::width_of(s), wide = padded[Base::unit_of(s)];
        for (int k = 0; k < values(s); k++)
            ((T*)to.base)[part.member * to.member + k * to.column] += own[s][k / w * wide + k % w];
    }
};

}  // namespace
