// What the code of one step sees of the scan around it.
#pragma once
#include <cstdint>

struct Frame {
    void* const* at;         // by slot: where its rows, columns or numbers lie at this step
    const int64_t* ld;       // by slot: values from one row to the next
    const int64_t* padded;   // by unit of width: values of one block, filled up to whole vectors
    const int64_t* width;    // by unit of width: values of one block
    const double* numbers;   // options of the cell, and what follows from them
    int64_t rows;            // examples that take this step
    double scale;            // what leaves the sweep is this times its mantissa, where one scale serves all examples
    void (*multiply)(void* scan, int64_t product);
    void* scan;
};
