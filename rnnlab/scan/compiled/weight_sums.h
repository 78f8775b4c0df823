// Gradients of weights: what is held against what, and how the sums of slices come together.
#pragma once
#include "places.h"

namespace {

constexpr int OPERAND_ROWS = 64;  // rows that one product of the weight gradients handles at once

// What one operand is held against: rows of the forward pass side by side, and ones.
struct Group {
    int operand;
    std::vector<int> pairs;
    int width = 0;     // values of a row of the left side
    size_t sums = 0;   // where its sums begin
};

inline std::vector<Group> groups_of(const CompiledCall& call) {
    std::vector<Group> groups;
    for (int p = 0; p < call.pairs; p++) {
        auto same = [&](const Group& g) { return g.operand == call.pair[p].operand; };
        auto found = std::find_if(groups.begin(), groups.end(), same);
        if (found == groups.end()) found = groups.insert(groups.end(), Group{int(call.pair[p].operand), {}});
        found->pairs.push_back(p);
        const Pair& pair = call.pair[p];
        found->width += pair.left < 0 ? 1 : pair.blocks * call.width[call.slot[pair.left].unit];
    }
    return groups;
}

// Values of all sums of one slice.
template <class T> size_t sums_of(const CompiledCall& c) {
    size_t all = 0;
    for (const Group& g : groups_of(c)) {
        const Slot& slot = c.slot[g.operand];
        all += size_t(g.width) * slot.blocks * ((c.width[slot.unit] + LANES<T> - 1) / LANES<T> * LANES<T>);
    }
    return all;
}

// Add the slices' sums up, in their order, to the gradients of the weights.
template <class T> void write_sums(const CompiledCall& c, const std::vector<std::vector<T>>& sums) {
    int64_t padded[3];
    for (int u = 0; u < 3; u++) padded[u] = (c.width[u] + LANES<T> - 1) / LANES<T> * LANES<T>;
    for (int member = 0; member < c.members; member++) {
        size_t place = 0;
        for (const Group& g : groups_of(c)) {
            const Slot& operand = c.slot[g.operand];
            const int w = c.width[operand.unit], wide = padded[operand.unit], ld = operand.blocks * wide;
            for (int p : g.pairs) {
                const Pair& pair = c.pair[p];
                const Matrix& to = c.weight_gradient[pair.weight];
                const int rows = pair.left < 0 ? 1 : pair.blocks * c.width[c.slot[pair.left].unit];
                const long by_left = pair.flip ? to.column : to.row, by_right = pair.flip ? to.row : to.column;
                for (int k = 0; k < rows; k++, place += ld)
                    for (int j = 0; to.base && j < operand.blocks * w; j++) {
                        const size_t from = place + j / w * wide + j % w;
                        T value = 0;
                        for (int s = 0; s < c.slices; s++) value += sums[member * c.slices + s][from];
                        ((T*)to.base)[member * to.member + k * by_left + j * by_right] += value;
                    }
            }
        }
    }
}

}  // namespace
