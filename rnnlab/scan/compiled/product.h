// Products of rows that lie in several places with weights that are packed once: C = C0 + sum of A_i W_i.
#pragma once
#include <algorithm>

#include "simd.h"

namespace {

// Rows of `depth` values, `stride` apart.
template <class T> struct Segment {
    const T* rows;
    long stride;
    int depth;
};

constexpr int PANEL = 2;  // vectors that one panel of weights is wide

// Rows of a tile: accumulators, one row of weights and a broadcast value fill the registers.
constexpr int tall(int vectors) { return std::min(12, (REGISTERS - vectors - 1) / vectors); }

template <class T, int R, int N>
__attribute__((noinline)) void product_tile(const T* c0, long ldc0, T* c, long ldc, const Segment<T>* segments,
                                            int count, int first, const T* w) {
    Vec<T> sums[R][N];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) sums[r][n] = c0 ? load(c0 + r * ldc0 + n * LANES<T>) : Vec<T>{};
    for (int s = 0; s < count; s++) {
        const T* row[R];
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) row[r] = segments[s].rows + (first + r) * segments[s].stride;
        for (int k = 0; k < segments[s].depth; k++, w += N * LANES<T>) {
            Vec<T> ws[N];
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) ws[n] = load(w + n * LANES<T>);
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                const Vec<T> value = splat<T>(row[r][k]);
#pragma GCC unroll 2
                for (int n = 0; n < N; n++) sums[r][n] += value * ws[n];
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) store(c + r * ldc + n * LANES<T>, sums[r][n]);
}

template <class T, int N, int R>
INLINE void product_tile_of(int rows, const T* c0, long ldc0, T* c, long ldc, const Segment<T>* segments, int count,
                            int first, const T* w) {
    if constexpr (R > 0) {
        if (rows == R) return product_tile<T, R, N>(c0, ldc0, c, ldc, segments, count, first, w);
        product_tile_of<T, N, R - 1>(rows, c0, ldc0, c, ldc, segments, count, first, w);
    }
}

template <class T, int N>
void product_panel(const T* c0, long ldc0, T* c, long ldc, const Segment<T>* segments, int count, const T* w,
                   int rows) {
    constexpr int MOST = tall(N);
    const int tiles = (rows + MOST - 1) / MOST;
    for (int i = 0; i < tiles; i++) {  // tiles of nearly the same height
        const int first = (long)rows * i / tiles, next = (long)rows * (i + 1) / tiles;
        product_tile_of<T, N, MOST>(next - first, c0 ? c0 + first * ldc0 : nullptr, ldc0, c + first * ldc, ldc,
                                    segments, count, first, w);
    }
}

// C (rows, vectors) = C0 + A W; W lies in panels, each with its rows one after the other. Without C0 from zero.
template <class T>
void multiply_segments(const T* c0, long ldc0, T* c, long ldc, const Segment<T>* segments, int count, const T* w,
                       int rows, int vectors) {
    long depth = 0;
    for (int s = 0; s < count; s++) depth += segments[s].depth;
    for (int v = 0; v < vectors; v += PANEL) {
        const int at = v * LANES<T>;
        const T *panel = w + long(at) * depth, *from = c0 ? c0 + at : nullptr;
        if (vectors - v >= 2)
            product_panel<T, 2>(from, ldc0, c + at, ldc, segments, count, panel, rows);
        else
            product_panel<T, 1>(from, ldc0, c + at, ldc, segments, count, panel, rows);
    }
}

}  // namespace
