"""Torch's elementwise operations in C++, and those that change nothing of a row."""

import torch

aten = torch.ops.aten

ELEMENTWISE = {
    aten.tanh.default: "tanh_of({0})",
    aten.sigmoid.default: "sigmoid_of({0})",
    aten.exp.default: "exp_of({0})",
    aten.expm1.default: "expm1_of({0})",
    aten.log1p.default: "log1p_of({0})",
    aten.log.default: "log_of({0})",
    aten.erf.default: "erf_of({0})",
    aten.sin.default: "sin_of({0})",
    aten.cos.default: "cos_of({0})",
    aten.tan.default: "tan_of({0})",
    aten.atan.default: "atan_of({0})",
    aten.sinh.default: "sinh_of({0})",
    aten.cosh.default: "cosh_of({0})",
    aten.sqrt.default: "root_of({0})",
    aten.rsqrt.default: "T(1) / root_of({0})",
    aten.reciprocal.default: "T(1) / {0}",
    aten.neg.default: "-{0}",
    aten.abs.default: "magnitude({0})",
    aten.sign.default: "sign({0})",
    aten.relu.default: "pick({0} < 0, T(0), {0})",
    aten.add.Tensor: "{0} + {1}",
    aten.sub.Tensor: "{0} - {1}",
    aten.mul.Tensor: "{0} * {1}",
    aten.div.Tensor: "{0} / {1}",
    aten.add.Scalar: "{0} + {1}",
    aten.sub.Scalar: "{0} - {1}",
    aten.mul.Scalar: "{0} * {1}",
    aten.div.Scalar: "{0} / {1}",
    aten.maximum.default: "pick({0} > {1}, {0}, pick({0} == {0}, {1}, {0}))",
    aten.minimum.default: "pick({0} < {1}, {0}, pick({0} == {0}, {1}, {0}))",
}
COMPARISONS = {
    aten.gt: "{0} > {1}",
    aten.lt: "{0} < {1}",
    aten.ge: "{0} >= {1}",
    aten.le: "{0} <= {1}",
    aten.eq: "{0} == {1}",
    aten.ne: "{0} != {1}",
    aten.logical_and: "{0} & {1}",
    aten.logical_or: "{0} | {1}",
    aten.bitwise_and: "{0} & {1}",
    aten.bitwise_or: "{0} | {1}",
}
DEAR = ("_of(", "/")
"""What an operation contains that is better kept than computed again on the way back."""
SAME = {
    aten.alias.default,
    aten.clone.default,
    aten.detach.default,
    aten.view.default,
    aten._unsafe_view.default,
    aten.expand.default,
    aten.unsqueeze.default,
    aten.squeeze.dims,
    aten.squeeze.dim,
    aten.select.int,
}
