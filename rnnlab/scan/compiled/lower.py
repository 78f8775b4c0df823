"""From torch's operations to expressions over blocks of units."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from rnnlab.scan.compiled.elementwise import COMPARISONS, ELEMENTWISE, SAME
from rnnlab.scan.compiled.errors import Inexpressible, in_words
from rnnlab.scan.compiled.expressions import (
    Expressions,
    MatrixFactor,
    Node,
    Outer,
    Product,
    Value,
    depends,
    whole_product,
)
from rnnlab.scan.compiled.trace import Traced

aten = torch.ops.aten


class Lowering:
    """The expressions of one traced step.

    Args:
        traced: the step.
        operations: how those that are more than elementwise are lowered; all others are refused.

    Attributes:
        make: the maker of all expressions.
        values: of the outputs of the joint graph, by label.
        inputs: kind, unit and number of blocks of everything that is read, by label.
        matrices: labels of the hoisted tensors that are multiplied with.
        standardised: over the batch: label of the running mean and that of the batch, likewise the variance, and the
            weight of the newest batch.
    """

    def __init__(self, traced: Traced, operations: Mapping[Any, Callable[..., Any]]) -> None:
        self.make, self.inputs, self.matrices = Expressions(), dict[str, tuple[str, str | None, int]](), list[str]()
        self.sizes, self._operations = traced.sizes, operations
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
        shape: tuple[int, ...] = tuple(node.meta["val"].shape)
        if not shape:
            return Value("scalar", [self.make.load(label, 0, "scalar", None)])
        if label[0] == "w" and len(shape) == 2 and shape[0] != 1:
            self.matrices.append(label)
            for size in shape:
                self.sizes.split(size)
            return MatrixFactor(label, False)
        if len(shape) > 2:
            raise Inexpressible(f"a weight of {len(shape)} dimensions")
        unit, blocks = self.sizes.split(node.meta["val"].shape[-1])
        kind = "column" if label[0] in "wq" else "row"
        self.inputs[label] = kind, unit, blocks
        return Value(kind, [self.make.load(label, b, kind, unit) for b in range(blocks)])

    def _call(self, node: fx.Node) -> Any:
        target: Any = node.target
        args = [self._read(a) for a in node.args]
        if target is operator.getitem:
            return args[0][args[1]]
        if target in ELEMENTWISE:
            if node.kwargs:
                raise Inexpressible(f"{in_words(target)} with {node.kwargs}")
            return self._add(node, args) if target is aten.add.Tensor else self.apply(ELEMENTWISE[target], *args)
        if getattr(target, "overloadpacket", None) in COMPARISONS:
            return self.apply(COMPARISONS[target.overloadpacket], *args, mask=True)
        if target in SAME:
            return self._same(node, args[0])
        try:
            own = self._operations[target]
        except KeyError:
            raise Inexpressible(f"the operation {in_words(target)}") from None
        return own(self, node, *args)

    def _read(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self._found[argument]
        if isinstance(argument, list | tuple):
            return [self._read(a) for a in argument]
        return argument

    def value(self, argument: Any) -> Value:
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, bool | int | float):
            return Value("constant", [self.make.constant(self.sizes.literal(argument))])
        raise Inexpressible(f"an operation on {type(argument).__name__.lower()}")

    def apply(self, form: str, *args: Any, mask: bool = False) -> Value:
        values = [self.value(a) for a in args]
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
        return self.apply("{0} + {1}", *args)

    def _own_product(self, node: Any, value: Any) -> Product | None:
        return whole_product(value) if isinstance(node, fx.Node) and len(node.users) == 1 else None


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
