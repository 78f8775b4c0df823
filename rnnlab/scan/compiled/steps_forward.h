// A compiled cell through all of time, forward.
#pragma once
#include "places.h"

namespace {

template <class T> class StepsForward : public Places<T> {
    using Base = Places<T>;
    using Base::call, Base::part, Base::frame, Base::after, Base::ld, Base::padded, Base::origin;

    // Write the final states: what each phase's last step left, or what there was before.
    void finish() {
        for (int i = 0; i < call.states; i++) {
            const int s = after[i], w = Base::width_of(s), wide = padded[Base::unit_of(s)];
            for (int p = 0; p < call.dilation; p++) {
                T* out = (T*)call.final_state[i] +
                         ((size_t(part.member) * call.dilation + p) * call.batch + part.from) * Base::values(s);
                int t = call.steps - 1;
                while (t >= 0 && Base::phase(t) != p) t--;
                for (int r = 0; r < part.rows(); r++) {
                    while (t >= 0 && part.active(t) <= r) t -= call.dilation;
                    const T* row = t < 0 ? origin[i][p] : Base::state_after(i, t);
                    for (int b = 0; b < call.slot[s].blocks; b++)
                        std::copy_n(row + r * ld[s] + b * wide, w, out + (size_t(r) * call.slot[s].blocks + b) * w);
                }
            }
        }
    }

  public:
    using Base::Base;

    void run() {
        for (int t = 0; t < call.steps; t++) {
            Base::place(t);
            call.run_step(&frame);
            T* outputs = Base::state_after(0, t);
            std::fill(outputs + frame.rows * ld[after[0]], outputs + part.rows() * ld[after[0]], T(0));
        }
        finish();
    }
};

}  // namespace
