"""From torch's operations to expressions over blocks of units."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from rnnlab.scan.compiled.errors import Inexpressible
from rnnlab.scan.compiled.expressions import (
    Expressions,
    Matrix,
    Node,
    Outer,
    Product,
    Rows,
    Value,
    depends,
    whole_product,
)
from rnnlab.scan.compiled.trace import Traced

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


class Lowering:
    """The expressions of one traced step.

    Attributes:
        make: the maker of all expressions.
        values: of the outputs of the joint graph, by label.
        inputs: kind, unit and number of blocks of everything that is read, by label.
        matrices: labels of the hoisted tensors that are multiplied with.
        standardised: over the batch: label of the running mean and that of the batch, likewise the variance, and the
            weight of the newest batch.
    """

    def __init__(self, traced: Traced) -> None:
        self.make, self.inputs, self.matrices = Expressions(), dict[str, tuple[str, str | None, int]](), list[str]()
        self.sizes = traced.sizes
        self.standardised: list[tuple[str, Value, str, Value, float]] = []
        self._found: dict[fx.Node, Any] = {}
        labels = iter(traced.labels)
        for node in traced.joint.nodes:
            if node.op == "placeholder":
                self._found[node] = self._input(next(labels), node)
            elif node.op == "call_function":
                self._found[node] = self._call(node)
        self.values = {label: None if node is None else self._found[node] for label, node in traced.outputs.items()}

    def _input(self, label: str, node: fx.Node) -> Any:
        shape = tuple(node.meta["val"].shape)
        if label[0] == "w" and len(shape) == 0:
            return Value("scalar", [self.make.load(label, 0, "scalar", None)])
        if label[0] == "w" and len(shape) == 2 and shape[0] != 1:
            self.matrices.append(label)
            for size in shape:
                self.sizes.split(size)
            return Matrix(label, False)
        if len(shape) > 2:
            raise Inexpressible(f"a weight of {len(shape)} dimensions")
        unit, blocks = self.sizes.split(shape[-1])
        kind = "column" if label[0] in "wq" else "row"
        self.inputs[label] = kind, unit, blocks
        return Value(kind, [self.make.load(label, b, kind, unit) for b in range(blocks)])

    def _call(self, node: fx.Node) -> Any:
        target, args = node.target, [self._read(a) for a in node.args]
        if target is operator.getitem:
            return args[0][args[1]]
        if target in ELEMENTWISE:
            if node.kwargs:
                raise Inexpressible(f"{target} with {node.kwargs}")
            return self._add(node, args) if target is aten.add.Tensor else self._apply(ELEMENTWISE[target], *args)
        if getattr(target, "overloadpacket", None) in COMPARISONS:
            return self._apply(COMPARISONS[target.overloadpacket], *args, mask=True)  # type: ignore[union-attr]
        if target in SAME:
            return self._same(node, args[0])
        try:
            own: Callable[..., Any] = OPERATIONS[target]  # type: ignore[index]
        except KeyError:
            raise Inexpressible(str(target).removesuffix(".default")) from None
        return own(self, node, *args)

    def _read(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self._found[argument]
        if isinstance(argument, list | tuple):
            return [self._read(a) for a in argument]
        return argument

    def _value(self, argument: Any) -> Value:
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, bool | int | float):
            return Value("constant", [self.make.constant(self.sizes.literal(argument))])
        raise Inexpressible(f"an operation on {type(argument).__name__.lower()}")

    def _apply(self, form: str, *args: Any, mask: bool = False) -> Value:
        values = [self._value(a) for a in args]
        count = max(len(v.blocks) for v in values)
        if any(len(v.blocks) not in (1, count) for v in values):
            raise Inexpressible("an operation on tensors of different widths")
        try:
            blocks = [
                self.make.apply(form, *(v.blocks[i if len(v.blocks) > 1 else 0] for v in values), mask=mask)
                for i in range(count)
            ]
        except ValueError as error:
            raise Inexpressible(str(error)) from None
        return Value(blocks[0].kind, blocks)

    def _same(self, node: fx.Node, value: Any) -> Any:
        """What only changes the shape, as long as that leaves every row as it is."""
        before, after = (_proper(n.meta["val"].shape) for n in (node.args[0], node))  # type: ignore[union-attr]
        if isinstance(value, Value) and node.target is not aten.expand.default and before != after:
            raise Inexpressible(f"{str(node.target).removesuffix('.default')} from {before} to {after}")
        return value

    def _add(self, node: fx.Node, args: list[Any]) -> Any:
        """A sum; products that nobody else reads become one product."""
        if isinstance(args[0], Outer) and isinstance(args[1], Outer):
            return Outer(args[0].parts + args[1].parts)
        for one, other in ((0, 1), (1, 0)):
            product = self._own_product(node.args[one], args[one])
            if product is None:
                continue
            joined = self._own_product(node.args[other], args[other])
            if joined is not None and _can_join(joined, product):
                product.terms += joined.terms
                product.base = product.base or joined.base
                return args[one]
            if product.base is None and _can_be_base(args[other], product):
                product.base = list(args[other].blocks)
                return args[one]
        return self._apply("{0} + {1}", *args)

    def _own_product(self, node: Any, value: Any) -> Product | None:
        return whole_product(value) if isinstance(node, fx.Node) and len(node.users) == 1 else None

    def matrix_product(self, node: fx.Node, a: Any, b: Any) -> Any:
        if isinstance(a, Rows) and isinstance(b, Value):
            return Outer([(a.value, b, False)])
        if isinstance(a, Value) and a.kind == "row" and isinstance(b, Matrix):
            unit, width = self.sizes.split(node.meta["val"].shape[1])
            return self.make.multiply(a, b, unit, width)
        raise Inexpressible("a product of other things than rows and a weight")

    def add_product(self, node: fx.Node, bias: Any, a: Any, b: Any) -> Any:
        value = self.matrix_product(node, a, b)
        product = whole_product(value)
        if product is not None and isinstance(bias, Value) and bias.kind == "column":
            product.base = list(bias.blocks)
            return value
        return self._apply("{0} + {1}", bias, value)

    def transpose(self, node: fx.Node, a: Any, *_: Any) -> Any:
        if isinstance(a, Matrix):
            return Matrix(a.label, not a.transposed)
        if isinstance(a, Outer):
            return Outer([(left, right, not flipped) for left, right, flipped in a.parts])
        if isinstance(a, Rows):
            return a.value
        return Rows(self._value(a))

    def split(self, node: fx.Node, a: Any, sizes: list[int], dim: int = 0) -> Any:
        value, found, at = self._blocks_of(node, a, dim), [], 0
        for size in sizes:
            found.append(self._between(value, at, at + size))
            at += size
        return found

    def slice(self, node: fx.Node, a: Any, dim: int = 0, start: int = 0, end: int = 2**63, step: int = 1) -> Any:
        shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
        if step == 1 and start == 0 and end >= shape[dim]:
            return a
        if step != 1:
            raise Inexpressible("a slice with steps")
        return self._between(self._blocks_of(node, a, dim), start, min(end, shape[dim]))

    def _blocks_of(self, node: fx.Node, a: Any, dim: int) -> Value:
        rank = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
        if not isinstance(a, Value) or a.kind not in ("row", "column") or dim % rank != rank - 1:
            raise Inexpressible("a part of something else than units")
        return a

    def _between(self, value: Value, start: int, end: int) -> Value:
        """The blocks from one unit to another."""
        at, blocks = 0, []
        for block in value.blocks:
            width = self.sizes.widths[block.unit]  # type: ignore[index]
            if at >= start and at + width <= end:
                blocks.append(block)
            elif at < end and at + width > start:
                raise Inexpressible("a part of a block of units")
            at += width
        return Value(value.kind, blocks)

    def concatenate(self, node: fx.Node, parts: list[Any], dim: int = 0) -> Any:
        rank = node.meta["val"].dim()
        if len(parts) == 1:
            return parts[0]
        values = [self._wide(self._value(p), n) for p, n in zip(parts, node.args[0], strict=True)]  # type: ignore[arg-type]
        if dim % rank != rank - 1 or any(v.kind not in ("row", "column") for v in values):
            raise Inexpressible("cat of something else than units")
        kind = "row" if any(v.kind == "row" for v in values) else "column"
        return Value(kind, [b for v in values for b in v.blocks])

    def _wide(self, value: Value, node: fx.Node) -> Value:
        """A constant as wide as the tensor that it fills."""
        if value.kind != "constant":
            return value
        unit, count = self.sizes.split(node.meta["val"].shape[-1])
        return Value("row", [self.make.make("vector_of({0})", value.blocks, "row", unit)] * count)

    def select_back(self, node: fx.Node, a: Any, sizes: list[int], dim: int, index: int) -> Any:
        if sizes[dim] != 1:
            raise Inexpressible("a single unit or example")
        return a

    def slice_back(self, node: fx.Node, a: Any, sizes: list[int], dim: int, start: int, end: int, step: int) -> Any:
        """Zeros where nothing was taken."""
        end = min(end, sizes[dim])
        if start == 0 and end == sizes[dim] and step == 1:
            return a
        value, zero = self._blocks_of(node, a, dim), self.make.constant("T(0)")
        before, after = (self.sizes.split(n) if n else (None, 0) for n in (start, sizes[dim] - end))
        empty = [
            [self.make.make("vector_of({0})", (zero,), value.kind, unit)] * count for unit, count in (before, after)
        ]
        return Value(value.kind, [*empty[0], *value.blocks, *empty[1]])

    def where(self, node: fx.Node, *args: Any) -> Any:
        return self._apply("pick({0}, {1}, {2})", *args)

    def filled(self, node: fx.Node, *args: Any) -> Any:
        return self._value(args[0] if node.target is aten.scalar_tensor.default else args[1])

    def subtract_from(self, node: fx.Node, a: Any, b: Any) -> Any:
        return self._apply("{1} - {0}", a, b)

    def power(self, node: fx.Node, a: Any, exponent: float) -> Any:
        forms = {1: "({0})", 2: "{0} * {0}", 3: "{0} * {0} * {0}", -1: "T(1) / {0}", 0.5: "root_of({0})"}
        if exponent not in forms:
            raise Inexpressible(f"a power of {exponent}")
        return self._apply(forms[exponent], a)

    def leaky(self, node: fx.Node, a: Any, slope: float = 0.01) -> Any:
        return self._apply("pick({0} > 0, {0}, {0} * {1})", a, slope)

    def elu(self, node: fx.Node, a: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
        return self._apply("pick({0} > 0, {0} * {2}, expm1_of({0} * {3}) * {1} * {2})", a, alpha, scale, input_scale)

    def gelu(self, node: fx.Node, a: Any, *_: Any) -> Any:
        if node.kwargs.get("approximate", "none") != "none":
            raise Inexpressible("an approximate gelu")
        share = self._apply("erfc_of({0} * T(-0.70710678118654752)) * T(0.5)", a)
        return self._apply("{0} * {1}", a, share)

    def hard_tanh(self, node: fx.Node, a: Any, low: float = -1, high: float = 1) -> Any:
        return self._apply("pick({0} < {1}, {1}, pick({0} > {2}, {2}, {0}))", a, low, high)

    def total(self, node: fx.Node, a: Any, dims: list[int], keep: bool = False) -> Any:
        value, shape = self._value(a), node.args[0].meta["val"].shape  # type: ignore[union-attr]
        dims = [d % len(shape) for d in dims if shape[d] != 1]
        if not dims:
            return value
        if value.kind != "row" or len(dims) != 1:
            raise Inexpressible("a sum over other things than units or examples")
        return self._sum_units(value) if dims == [len(shape) - 1] else self._sum_rows(value)

    def mean(self, node: fx.Node, a: Any, dims: list[int], keep: bool = False) -> Any:
        size = node.args[0].meta["val"].shape[dims[0]]  # type: ignore[union-attr]
        return self._apply("{0} / {1}", self.total(node, a, dims, keep), size)

    def _sum_units(self, value: Value) -> Value:
        return Value("number", [self.make.make("sum_units", value.blocks, "number", None)])

    def _sum_rows(self, value: Value) -> Value:
        return Value("column", [self.make.make("sum_rows", (b,), "column", b.unit) for b in value.blocks])

    def layer_norm(self, node: fx.Node, a: Any, shape: Any, gain: Any, shift: Any, epsilon: float) -> Any:
        x = self._value(a)
        size = node.args[0].meta["val"].shape[-1]  # type: ignore[union-attr]
        y, mean, _, inverse = self._standardise(x, self._sum_units, size, gain, shift, epsilon)
        return [y, mean, inverse]

    def batch_norm(self, node: fx.Node, a: Any, gain: Any, shift: Any, mean: Any, var: Any, *rest: Any) -> Any:
        training, momentum, epsilon = rest
        x = self._value(a)
        if training:
            y, own_mean, own_var, inverse = self._standardise(x, self._sum_rows, self.sizes.rows, gain, shift, epsilon)
            if mean is not None:
                labels = [v.blocks[0].args[0] for v in (mean, var)]
                self.standardised.append((labels[0], own_mean, labels[1], own_var, momentum))
            return [y, own_mean, inverse]
        inverse = self._apply("T(1) / root_of({0} + {1})", var, epsilon)
        y = self._apply("{0} * {1}", self._apply("{0} - {1}", x, mean), inverse)
        return [self._scaled(y, gain, shift), mean, inverse]

    def _standardise(
        self, x: Value, total: Callable[[Value], Value], size: int, gain: Any, shift: Any, epsilon: float
    ) -> tuple[Value, Value, Value, Value]:
        """The result, mean, variance and one over the standard deviation."""
        mean = self._apply("{0} / {1}", total(x), size)
        centred = self._apply("{0} - {1}", x, mean)
        var = self._apply("{0} / {1}", total(self._apply("{0} * {0}", centred)), size)
        inverse = self._apply("T(1) / root_of({0} + {1})", var, epsilon)
        y = self._scaled(self._apply("{0} * {1}", centred, inverse), gain, shift)
        return y, mean, var, inverse

    def _scaled(self, y: Value, gain: Any, shift: Any) -> Value:
        y = y if gain is None else self._apply("{0} * {1}", y, gain)
        return y if shift is None else self._apply("{0} + {1}", y, shift)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    aten.mm.default: Lowering.matrix_product,
    aten.addmm.default: Lowering.add_product,
    aten.permute.default: Lowering.transpose,
    aten.t.default: Lowering.transpose,
    aten.split_with_sizes.default: Lowering.split,
    aten.slice.Tensor: Lowering.slice,
    aten.cat.default: Lowering.concatenate,
    aten.select_backward.default: Lowering.select_back,
    aten.slice_backward.default: Lowering.slice_back,
    aten.where.self: Lowering.where,
    aten.full.default: Lowering.filled,
    aten.full_like.default: Lowering.filled,
    aten.scalar_tensor.default: Lowering.filled,
    aten.rsub.Scalar: Lowering.subtract_from,
    aten.pow.Tensor_Scalar: Lowering.power,
    aten.leaky_relu.default: Lowering.leaky,
    aten.elu.default: Lowering.elu,
    aten.gelu.default: Lowering.gelu,
    aten.hardtanh.default: Lowering.hard_tanh,
    aten.sum.dim_IntList: Lowering.total,
    aten.mean.dim: Lowering.mean,
    aten.native_layer_norm.default: Lowering.layer_norm,
    aten.native_batch_norm.default: Lowering.batch_norm,
}
"""Everything else is refused, and never guessed."""


def _proper(shape: Any) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _can_join(one: Product, other: Product) -> bool:
    both = one.base is not None and other.base is not None
    return not both and not any(depends(b, other) for b in _terms(one))


def _terms(product: Product) -> list[Node]:
    return [b for term in product.terms for b in term.blocks] + list(product.base or ())


def _can_be_base(value: Any, product: Product) -> bool:
    return (
        isinstance(value, Value)
        and value.kind in ("row", "column")
        and len(value.blocks) == product.width
        and not any(depends(b, product) for b in value.blocks)
    )
