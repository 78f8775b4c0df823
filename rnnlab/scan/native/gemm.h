// Products of small matrices that live in the cache: C += A B, with B in vectors and A broadcast value by value.
#pragma once
#include "simd.h"

namespace {

constexpr int MOST_VECTORS = 4;  // vectors of B that one tile is wide

// Rows of a tile: as many accumulators as leave registers for one row of B and a broadcast value.
constexpr int tile_rows(int vectors) {
    int rows = 1;  // beside the accumulators: the shorter side of the tile, and one value more
    while (rows < 8 && (rows + 1) * vectors + (rows + 1 < vectors ? rows + 1 : vectors) + 1 <= REGISTERS) rows++;
    return rows;
}

// One tile: C = C0 + A B, with A[r, k] = a[r * rs + k * ks].
template <class T, int R, int N>
__attribute__((noinline)) void tile(const T* c0, long ldc0, T* c, long ldc, const T* a, long rs, long ks, const T* b,
                                    long ldb, int depth) {
    Vec<T> sums[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) sums[r][n] = load(c0 + r * ldc0 + n * LANES<T>);
    const T* row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) row[r] = a + r * rs;
    for (int k = 0; k < depth; k++) {
        if constexpr (R < N) {
            Vec<T> values[R];
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) values[r] = splat<T>(row[r][k * ks]);
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) {
                const Vec<T> bn = load(b + n * LANES<T>);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) sums[r][n] += values[r] * bn;
            }
        } else {
            Vec<T> bs[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) bs[n] = load(b + n * LANES<T>);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                const Vec<T> value = splat<T>(row[r][k * ks]);
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) sums[r][n] += value * bs[n];
            }
        }
        b += ldb;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) store(c + r * ldc + n * LANES<T>, sums[r][n]);
}

template <class T, int N, int R>
INLINE void tile_of(int rows, const T* c0, long ldc0, T* c, long ldc, const T* a, long rs, long ks, const T* b,
                    long ldb, int depth) {
    if constexpr (R > 0) {
        if (rows == R) return tile<T, R, N>(c0, ldc0, c, ldc, a, rs, ks, b, ldb, depth);
        tile_of<T, N, R - 1>(rows, c0, ldc0, c, ldc, a, rs, ks, b, ldb, depth);
    }
}

template <class T, int N>
void multiply_wide(const T* c0, long ldc0, T* c, long ldc, const T* a, long rs, long ks, const T* b, long ldb, int rows,
                   int depth) {
    constexpr int MOST = tile_rows(N);
    const int tiles = (rows + MOST - 1) / MOST;
    for (int i = 0; i < tiles; i++) {  // tiles of nearly the same height
        const int first = (long)rows * i / tiles, next = (long)rows * (i + 1) / tiles;
        tile_of<T, N, MOST>(next - first, c0 + first * ldc0, ldc0, c + first * ldc, ldc, a + first * rs, rs, ks, b, ldb,
                            depth);
    }
}

// C (rows, vectors) = C0 + A (rows, depth) B (depth, vectors); a stride of zero repeats one row.
template <class T>
void multiply(const T* c0, long ldc0, T* c, long ldc, const T* a, long rs, long ks, const T* b, long ldb, int rows,
              int vectors, int depth) {
    switch (vectors) {
        case 1: return multiply_wide<T, 1>(c0, ldc0, c, ldc, a, rs, ks, b, ldb, rows, depth);
        case 2: return multiply_wide<T, 2>(c0, ldc0, c, ldc, a, rs, ks, b, ldb, rows, depth);
        case 3: return multiply_wide<T, 3>(c0, ldc0, c, ldc, a, rs, ks, b, ldb, rows, depth);
        case 4: return multiply_wide<T, 4>(c0, ldc0, c, ldc, a, rs, ks, b, ldb, rows, depth);
    }
}

}  // namespace
