"""The scan by torch's own fused layers, cuDNN's on a GPU, and total gradients out of what they give.

A fused layer shows neither its steps nor its gates. So where somebody observes it is fed z_t = W_ih x_t, with the
identity as its input weights: the gradient of its inputs is then δ_t, that of the pre-activations, from which total
gradients follow for all steps at once. Where nobody observes it runs as it is.
"""

from rnnlab.scan.fused.operation import run
from rnnlab.scan.fused.support import pays, supports

__all__ = ["pays", "run", "supports"]
