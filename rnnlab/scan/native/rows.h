// The largest value of each row, for Python: what it would take torch as long to find as a step takes.
#pragma once
#include "scale.h"

namespace {

// out[r] = the largest absolute value of row r, which is not a number where one of them is none.
template <class T> void find_largest(const T* from, T* out, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, from += width) {
        Vec<T> most{}, odd{};
        for (int64_t i = 0; i < width; i += LANES<T>) {
            const Vec<T> v = load(from + i, int(std::min<int64_t>(LANES<T>, width - i)));
            most = larger(absolute<T>(v), most);
            odd += v != v ? v : Vec<T>{};
        }
        const T m = largest<T>(most), nan = sum<T>(odd);
        out[r] = nan != nan ? nan : m;
    }
}

}  // namespace

extern "C" void largest_of_rows(const void* from, void* out, int64_t rows, int64_t width, int64_t wide) {
    if (wide)
        find_largest((const double*)from, (double*)out, rows, width);
    else
        find_largest((const float*)from, (float*)out, rows, width);
}
