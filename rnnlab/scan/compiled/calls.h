// One call as Python fills it in; the counterpart of calls.py. Strides count values; null is absent.
#pragma once
#include <cstdint>

#include "frame.h"

constexpr int64_t COMPILED_LAYOUT_NUMBER = 2;  // raised with every change, here and in calls.py

// What a slot holds, and so where it lies at each step.
enum Role : int64_t {
    FIXED_COLUMNS,    // one row for all examples and steps
    STEP_COLUMNS,     // one row for all examples of a step
    INPUT_ROWS,       // from outside
    KEPT_ROWS,        // made on the way forward, read on the way back
    KEPT_NUMBERS,
    KEPT_COLUMNS,
    SCRATCH_ROWS,     // of this step alone
    SCRATCH_NUMBERS,
    SCRATCH_COLUMNS,
    BEFORE,           // a state as this step finds it
    AFTER,            // as it leaves it
    TANGENT,          // the gradient that has come back to a state
    NEXT,             // the gradient that goes on
    TOTAL,            // a total gradient
    OPERAND,          // rows of gradients that the gradients of weights are made of
    SUM_COLUMNS,      // a gradient of a weight, added up over the steps
    INPUT_GRADIENT,
};

struct Slot {
    int64_t role, unit, blocks, state;  // `state` also numbers what comes from outside
};

struct External {
    void* base;
    int64_t member, step, row;
};

struct Matrix {
    const void* base;
    int64_t member, row, column;
};

// out = base + the sum of its terms.
struct Product {
    int64_t out, base, first_term, terms;
};

// Blocks of a slot times a matrix, given as (row_blocks, column_blocks) of these units; transposed if asked for.
struct Term {
    int64_t slot, block, blocks, matrix, transposed;
};

// The gradient of a weight: rows of the forward pass (none: ones) against rows of gradients, summed over examples.
struct Pair {
    int64_t left, block, blocks, operand, flip, weight;
};

struct CompiledCall {
    int64_t members, steps, batch, slices, threads;
    int64_t dilation, start, states, coupled;
    int64_t width[3];
    const int64_t* sizes;  // active examples of every step, or null for all
    int64_t slots, products, pairs;
    const Slot* slot;
    const External* external;  // by slot
    const Product* product;
    const Term* term;
    const Matrix* matrix;
    const Pair* pair;
    const Matrix* weight_gradient;  // by weight
    const double* numbers;  // of one member after the other, `numbers_each` values
    int64_t numbers_each;
    void (*run_step)(const Frame*);
    const void* before[4];  // (P, D, B, S) first states
    void* final_state[4];   // (P, D, B, S)
    External upstream;
    const void* upstream_final[4];
    void* start_gradient[4];
    double* log2_norms[4];  // (P, T, B)
    void* mantissas[4];     // (P, T, B, S)
    int32_t* exponents[4];  // (P, T, B)
    External input_gradient;
    int64_t shadowed, shadow_exponent;  // whether upstream gradients are shadows: doubles times 2^shadow_exponent
    External input_shadow;
    double* start_shadow[4];
};
