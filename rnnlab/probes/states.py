"""Hidden states of a trace, for figures of what the network does with them."""

from typing import TYPE_CHECKING

import numpy as np

from rnnlab.common.errors import UserError

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


def hidden_states(trace: "Trace", state: str = "h") -> "xr.DataArray":
    """Read what every step made, example by example.

    Args:
        trace: one direction of one layer.
        state: which state, `h` or `c`.

    Returns:
        (time, example, unit), in the caller's order; NaN at padded steps.

    Raises:
        UserError: if the cell has no such state.
    """
    import xarray as xr

    names = trace.cell.states
    if state not in names:
        raise UserError(f"state = '{state}' does not exist: choose from {', '.join(names)}")
    values = trace.in_time(trace.after[names.index(state)]).cpu().numpy()  # (T, B, S)
    coords = {"time": trace.time, "example": np.arange(values.shape[1]), "unit": np.arange(values.shape[2])}
    return xr.DataArray(values, coords, tuple(coords), state, {"long_name": f"state {state}"})
