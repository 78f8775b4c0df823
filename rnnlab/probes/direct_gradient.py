"""Direct gradient: what enters a time step from the loss itself, without the way back from later steps."""

from typing import TYPE_CHECKING

from rnnlab.gradients.norms import log10_norm, over_examples
from rnnlab.probes.base import probe
from rnnlab.probes.total_gradient import norm_arrays

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("standard", cost="T B S")
def direct_gradient(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Norm of the direct gradient at every time step: the partial of L in s_t, later states held fixed.

    This is what `output.retain_grad()` shows: for a loss at the last step it is zero at every step but that one, which
    says nothing about vanishing. A state that is no output, such as the cell state, has one at the last step at most.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_direct_norm`, with `_min` and `_max` over examples, and `direct_norm_zero_fraction`: (state, time). Where
        the direct gradient of every example is zero, its log10 is NaN and the fraction 1.

    Reference: Pascanu et al. 2013, "On the Difficulty of Training Recurrent Neural Networks", eq. 4, where
    it is dE_t/dx_t.
    """
    norms = [over_examples(log10_norm(trace.in_time(direct)).cpu()) for direct in trace.direct]
    return norm_arrays("direct_norm", "direct gradient", norms, trace)
