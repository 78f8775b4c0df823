// Recurrent layers over whole sequences, with the norm of the total gradient at every step. See docs/performance.md.
//
// A plain C interface: Python calls it with a `KernelCall`. Each task takes one slice of the batch of one member through
// all of time; tasks share nothing that they write, so threads never wait for each other.
#include <exception>

#include "backward.h"
#include "rows.h"

namespace {

Options options_of(const KernelCall& c, int member) {
    return {static_cast<Activation>(c.activation), c.residual != 0, c.alpha[member]};
}

template <class T> Scratch<T>& scratch_of_thread() {
    static thread_local Scratch<T> scratch;
    return scratch;
}

// Runs the tasks in parallel; false if one found no memory, which must not leave a thread as an exception.
template <class F> bool run_tasks(const KernelCall& call, int tasks, F task) {
    bool fine = true;
#pragma omp parallel for schedule(static) num_threads(call.threads) reduction(&& : fine) if (call.threads > 1)
    for (int i = 0; i < tasks; i++) {
        try {
            task(i);
        } catch (const std::exception&) {
            fine = false;
        }
    }
    return fine;
}

template <class T, class C> bool run_forward(const KernelCall& call) {
    const Layout<T, C> plan(call);
    const long rows = member_rows(call);
    return run_tasks(call, call.members * call.slices, [&](int task) {
        const FlushSubnormals flush;
        const Slice slice = make_slice(call, task);
        Scratch<T>& scratch = scratch_of_thread<T>();
        scratch.reset(Forward<T, C>::room(plan, slice));
        Forward<T, C>(plan, slice, options_of(call, slice.member), scratch).run(slice.member * rows + slice.before);
    });
}

template <class T, class C> bool run_backward(const KernelCall& call) {
    const Layout<T, C> plan(call);
    const long rows = member_rows(call);
    const size_t each = plan.row_size() * plan.J;
    const bool fine = run_tasks(call, call.members * call.slices, [&](int task) {
        const FlushSubnormals flush;
        const Slice slice = make_slice(call, task);
        Scratch<T>& scratch = scratch_of_thread<T>();
        scratch.reset(Backward<T, C>::room(plan, slice));
        T* sums = call.sums ? (T*)call.sums + task * each : nullptr;
        if (sums) std::fill(sums, sums + each, T(0));
        Backward<T, C>(plan, slice, options_of(call, slice.member), scratch, sums)
            .run(slice.member * rows + slice.before);
    });
    if (!fine || !call.sums) return fine;
    return run_tasks(call, call.members * plan.panels(), [&](int i) {
        write_weight_gradients<T, C>(plan, i / plan.panels(), i % plan.panels());
    });
}

template <class T, class C> bool run_either(const KernelCall& call, bool back) {
    return back ? run_backward<T, C>(call) : run_forward<T, C>(call);
}

template <class T> bool run_cell(int64_t cell, const KernelCall& call, bool back) {
    switch (cell) {
        case 0: return run_either<T, Vanilla<T>>(call, back);
        case 1: return run_either<T, Lstm<T, true>>(call, back);
        case 2: return run_either<T, Lstm<T, false>>(call, back);
        default: return run_either<T, Gru<T>>(call, back);
    }
}

}  // namespace

extern "C" {

// What Python compares with its own before it calls.
int64_t layout_number() { return LAYOUT_NUMBER; }
int64_t call_size() { return sizeof(KernelCall); }

// Number of values in one vector of units.
int64_t lanes(int64_t wide) { return wide ? LANES<double> : LANES<float>; }

// One, or zero if there was not enough memory: then what was to be written is arbitrary.
int64_t run(const KernelCall* call, int64_t cell, int64_t wide, int64_t back) {
    return wide ? run_cell<double>(cell, *call, back) : run_cell<float>(cell, *call, back);
}
}
