"""Torch's operations that are more than elementwise, each as expressions: one function an operation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import fx

from rnnlab.scan.compiled.elementwise import SAME
from rnnlab.scan.compiled.errors import Inexpressible
from rnnlab.scan.compiled.expressions import Exchanged, MatrixFactor, Outer, Value, whole_product
from rnnlab.scan.compiled.lower import Lowering

aten = torch.ops.aten

OPERATIONS: dict[Any, Callable[..., Any]] = {}
"""Everything that is neither here nor elementwise is refused, and never guessed."""


def operation(*targets: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register how operations are lowered: a function of the lowering, the node and its arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.update(dict.fromkeys(targets, function))
        return function

    return register


@operation(aten.mm.default)
def matrix_product(lowering: Lowering, node: fx.Node, a: Any, b: Any) -> Any:
    if isinstance(a, Exchanged) and isinstance(b, Value):
        return Outer([(a.value, b, False)])
    if isinstance(a, Value) and a.kind == "row" and isinstance(b, MatrixFactor):
        unit, width = lowering.sizes.split(node.meta["val"].shape[1])
        return lowering.make.multiply(a, b, unit, width)
    raise Inexpressible("a product of other things than rows and a weight")


@operation(aten.addmm.default)
def add_product(lowering: Lowering, node: fx.Node, bias: Any, a: Any, b: Any) -> Any:
    value = matrix_product(lowering, node, a, b)
    product = whole_product(value)
    if product is not None and isinstance(bias, Value) and bias.kind == "column":
        product.base = list(bias.blocks)
        return value
    return lowering.apply("{0} + {1}", bias, value)


@operation(aten.permute.default, aten.t.default)
def transpose(lowering: Lowering, node: fx.Node, a: Any, *_: Any) -> Any:
    if isinstance(a, MatrixFactor):
        return MatrixFactor(a.label, not a.transposed)
    if isinstance(a, Outer):
        return Outer([(left, right, not flipped) for left, right, flipped in a.parts])
    if isinstance(a, Exchanged):
        return a.value
    return Exchanged(lowering.value(a))


@operation(aten.split_with_sizes.default)
def split(lowering: Lowering, node: fx.Node, a: Any, sizes: list[int], dim: int = 0) -> Any:
    value, found, at = _blocks_of(node, a, dim), [], 0
    for size in sizes:
        found.append(_between(lowering, value, at, at + size))
        at += size
    return found


@operation(aten.slice.Tensor)
def slice(
    lowering: Lowering, node: fx.Node, a: Any, dim: int = 0, start: int = 0, end: int = 2**63, step: int = 1
) -> Any:
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    if step == 1 and start == 0 and end >= shape[dim]:
        return a
    if step != 1:
        raise Inexpressible("a slice with steps")
    return _between(lowering, _blocks_of(node, a, dim), start, min(end, shape[dim]))


def _blocks_of(node: fx.Node, a: Any, dim: int) -> Value:
    rank = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
    if not isinstance(a, Value) or a.kind not in ("row", "column") or dim % rank != rank - 1:
        raise Inexpressible("a part of something else than units")
    return a


def _between(lowering: Lowering, value: Value, start: int, end: int) -> Value:
    """The blocks from one unit to another."""
    at, blocks = 0, []
    for block in value.blocks:
        width = lowering.sizes.widths[block.unit]  # type: ignore[index]
        if at >= start and at + width <= end:
            blocks.append(block)
        elif at < end and at + width > start:
            raise Inexpressible("a part of a block of units")
        at += width
    return Value(value.kind, blocks)


@operation(aten.cat.default)
def concatenate(lowering: Lowering, node: fx.Node, parts: list[Any], dim: int = 0) -> Any:
    rank = node.meta["val"].dim()
    if len(parts) == 1:
        return parts[0]
    values = [_wide(lowering, lowering.value(p), n) for p, n in zip(parts, node.args[0], strict=True)]  # type: ignore[arg-type]
    if dim % rank != rank - 1 or any(v.kind not in ("row", "column") for v in values):
        raise Inexpressible("cat of something else than units")
    kind = "row" if any(v.kind == "row" for v in values) else "column"
    return Value(kind, [b for v in values for b in v.blocks])


def _wide(lowering: Lowering, value: Value, node: fx.Node) -> Value:
    """A constant as wide as the tensor that it fills."""
    if value.kind != "constant":
        return value
    unit, count = lowering.sizes.split(node.meta["val"].shape[-1])
    return Value("row", [lowering.make.make("vector_of({0})", value.blocks, "row", unit)] * count)


@operation(aten.select_backward.default)
def select_back(lowering: Lowering, node: fx.Node, a: Any, sizes: list[int], dim: int, index: int) -> Any:
    if sizes[dim] != 1:
        raise Inexpressible("a single unit or example")
    return a


@operation(aten.slice_backward.default)
def slice_back(
    lowering: Lowering, node: fx.Node, a: Any, sizes: list[int], dim: int, start: int, end: int, step: int
) -> Any:
    """Zeros where nothing was taken."""
    end = min(end, sizes[dim])
    if start == 0 and end == sizes[dim] and step == 1:
        return a
    value, zero = _blocks_of(node, a, dim), lowering.make.constant("T(0)")
    before, after = (lowering.sizes.split(n) if n else (None, 0) for n in (start, sizes[dim] - end))
    empty = [
        [lowering.make.make("vector_of({0})", (zero,), value.kind, unit)] * count for unit, count in (before, after)
    ]
    return Value(value.kind, [*empty[0], *value.blocks, *empty[1]])


@operation(aten.where.self)
def where(lowering: Lowering, node: fx.Node, *args: Any) -> Any:
    return lowering.apply("pick({0}, {1}, {2})", *args)


@operation(aten.full.default, aten.full_like.default, aten.scalar_tensor.default)
def filled(lowering: Lowering, node: fx.Node, *args: Any) -> Any:
    return lowering.value(args[0] if node.target is aten.scalar_tensor.default else args[1])


@operation(aten.rsub.Scalar)
def subtract_from(lowering: Lowering, node: fx.Node, a: Any, b: Any) -> Any:
    return lowering.apply("{1} - {0}", a, b)


@operation(aten.pow.Tensor_Scalar)
def power(lowering: Lowering, node: fx.Node, a: Any, exponent: float) -> Any:
    forms = {
        1: "({0})",
        2: "{0} * {0}",
        3: "{0} * {0} * {0}",
        4: "({0} * {0}) * ({0} * {0})",
        -1: "T(1) / {0}",
        0.5: "root_of({0})",
    }
    if exponent not in forms:
        raise Inexpressible(f"a power of {exponent}")
    return lowering.apply(forms[exponent], a)


@operation(aten.leaky_relu.default)
def leaky(lowering: Lowering, node: fx.Node, a: Any, slope: float = 0.01) -> Any:
    return lowering.apply("pick({0} > 0, {0}, {0} * {1})", a, slope)


@operation(aten.elu.default)
def elu(lowering: Lowering, node: fx.Node, a: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    return lowering.apply("pick({0} > 0, {0} * {2}, expm1_of({0} * {3}) * {1} * {2})", a, alpha, scale, input_scale)


@operation(aten.gelu.default)
def gelu(lowering: Lowering, node: fx.Node, a: Any, *_: Any) -> Any:
    if node.kwargs.get("approximate", "none") != "none":
        raise Inexpressible("an approximate gelu")
    share = lowering.apply("erfc_of({0} * T(-0.70710678118654752)) * T(0.5)", a)
    return lowering.apply("{0} * {1}", a, share)


@operation(aten.hardtanh.default)
def hard_tanh(lowering: Lowering, node: fx.Node, a: Any, least: float = -1, most: float = 1) -> Any:
    return lowering.apply("pick({0} < {1}, {1}, pick({0} > {2}, {2}, {0}))", a, least, most)


@operation(aten.clamp.default)
def clamp(lowering: Lowering, node: fx.Node, a: Any, least: float | None = None, most: float | None = None) -> Any:
    a = a if least is None else lowering.apply("pick({0} < {1}, {1}, {0})", a, least)
    return a if most is None else lowering.apply("pick({0} > {1}, {1}, {0})", a, most)


@operation(aten.logical_and_.default, aten.copy_.default)
def in_place(lowering: Lowering, node: fx.Node, a: Any, b: Any) -> Any:
    """What is written over a value that nobody reads any more."""
    place = list(node.graph.nodes).index
    if any(user.target in SAME or place(user) > place(node) for user in node.args[0].users):  # type: ignore[union-attr]
        raise Inexpressible("a value that is overwritten and read again")
    return lowering.value(b) if node.target is aten.copy_.default else lowering.apply("{0} & {1}", a, b, mask=True)


@operation(aten.sum.dim_IntList)
def total(lowering: Lowering, node: fx.Node, a: Any, dims: list[int], keep: bool = False) -> Any:
    value, shape = lowering.value(a), node.args[0].meta["val"].shape  # type: ignore[union-attr]
    dims = [d % len(shape) for d in dims if shape[d] != 1]
    if not dims:
        return value
    if value.kind != "row" or len(dims) != 1:
        raise Inexpressible("a sum over other things than units or examples")
    return _sum_units(lowering, value) if dims == [len(shape) - 1] else _sum_rows(lowering, value)


@operation(aten.mean.dim)
def mean(lowering: Lowering, node: fx.Node, a: Any, dims: list[int], keep: bool = False) -> Any:
    size = node.args[0].meta["val"].shape[dims[0]]  # type: ignore[union-attr]
    return lowering.apply("{0} / {1}", total(lowering, node, a, dims, keep), size)


def _sum_units(lowering: Lowering, value: Value) -> Value:
    return Value("number", [lowering.make.make("sum_units", value.blocks, "number", None)])


def _sum_rows(lowering: Lowering, value: Value) -> Value:
    return Value("column", [lowering.make.make("sum_rows", (b,), "column", b.unit) for b in value.blocks])


@operation(aten.native_layer_norm.default)
def layer_norm(lowering: Lowering, node: fx.Node, a: Any, shape: Any, gain: Any, shift: Any, epsilon: float) -> Any:
    x = lowering.value(a)
    size = node.args[0].meta["val"].shape[-1]  # type: ignore[union-attr]
    y, mean, _, inverse = _standardise(lowering, x, partial(_sum_units, lowering), size, gain, shift, epsilon)
    return [y, mean, inverse]


@operation(aten.native_batch_norm.default)
def batch_norm(
    lowering: Lowering, node: fx.Node, a: Any, gain: Any, shift: Any, mean: Any, var: Any, *rest: Any
) -> Any:
    training, momentum, epsilon = rest
    x = lowering.value(a)
    if training:
        rows, total = lowering.sizes.rows, partial(_sum_rows, lowering)
        y, own_mean, own_var, inverse = _standardise(lowering, x, total, rows, gain, shift, epsilon)
        if mean is not None:
            labels = [v.blocks[0].args[0] for v in (mean, var)]
            lowering.standardised.append((labels[0], own_mean, labels[1], own_var, momentum))
        return [y, own_mean, inverse]
    inverse = lowering.apply("T(1) / root_of({0} + {1})", var, epsilon)
    y = lowering.apply("{0} * {1}", lowering.apply("{0} - {1}", x, mean), inverse)
    return [_scaled(lowering, y, gain, shift), mean, inverse]


def _standardise(
    lowering: Lowering, x: Value, total: Callable[[Value], Value], size: int, gain: Any, shift: Any, epsilon: float
) -> tuple[Value, Value, Value, Value]:
    """The result, mean, variance and one over the standard deviation."""
    mean = lowering.apply("{0} / {1}", total(x), size)
    centred = lowering.apply("{0} - {1}", x, mean)
    var = lowering.apply("{0} / {1}", total(lowering.apply("{0} * {0}", centred)), size)
    inverse = lowering.apply("T(1) / root_of({0} + {1})", var, epsilon)
    y = _scaled(lowering, lowering.apply("{0} * {1}", centred, inverse), gain, shift)
    return y, mean, var, inverse


def _scaled(lowering: Lowering, y: Value, gain: Any, shift: Any) -> Value:
    y = y if gain is None else lowering.apply("{0} * {1}", y, gain)
    return y if shift is None else lowering.apply("{0} + {1}", y, shift)
