// Compiled cells over whole sequences, with the norm of the total gradient at every step.
//
// The equations of a step are in a library of their own, one for each cell; this one takes them through time.
#include <exception>

#include "gemm.h"
#include "rows.h"
#include "steps_backward.h"
#include "steps_forward.h"

namespace {

template <class T> Arena<T>& arena_of_thread() {
    static thread_local Arena<T> arena;
    arena.reset();
    return arena;
}

template <class F> bool run_tasks(const CompiledCall& call, F task) {
    bool fine = true;
#pragma omp parallel for schedule(static) num_threads(call.threads) reduction(&& : fine) if (call.threads > 1)
    for (int i = 0; i < call.members * call.slices; i++) {
        try {
            const FlushSubnormals flush;
            task(i);
        } catch (const std::exception&) {
            fine = false;
        }
    }
    return fine;
}

template <class T> bool run_forward(const CompiledCall& call) {
    return run_tasks(call, [&](int task) { StepsForward<T>(call, task, arena_of_thread<T>()).run(); });
}

template <class T> bool run_backward(const CompiledCall& call) try {
    const size_t each = sums_of<T>(call);
    std::vector<std::vector<T>> sums(call.members * call.slices, std::vector<T>(each, T(0)));
    const bool fine = run_tasks(call, [&](int task) {
        StepsBackward<T>(call, task, arena_of_thread<T>(), sums[task].data()).run();
    });
    if (fine && call.pairs) write_sums<T>(call, sums);
    return fine;
} catch (const std::exception&) {
    return false;
}

}  // namespace

extern "C" {

// What Python compares with its own before it calls.
int64_t layout_number() { return COMPILED_LAYOUT_NUMBER; }
int64_t call_size() { return sizeof(CompiledCall); }

int64_t lanes(int64_t wide) { return wide ? LANES<double> : LANES<float>; }

// One, or zero if there was not enough memory: then what was to be written is arbitrary.
int64_t run(const CompiledCall* call, int64_t wide, int64_t back) {
    if (back) return wide ? run_backward<double>(*call) : run_backward<float>(*call);
    return wide ? run_forward<double>(*call) : run_forward<float>(*call);
}
}
