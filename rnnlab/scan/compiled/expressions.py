"""What a step computes, as expressions over blocks of units: every expression once, however often it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["constant", "scalar", "number", "column", "row"]
"""A literal, an option of the cell, a number for each example, one for each unit, one for each of both."""
RANK = {"constant": 0, "scalar": 1, "number": 2, "column": 3, "row": 4}


@dataclass(eq=False)
class Node:
    """One expression over one block.

    Attributes:
        op: `load` (slot, block), `product` (product, block), `sum_units` (blocks), `sum_rows` (block), `constant`
            (text), or C++ with places for the arguments.
        args: what the operation acts on.
        kind: what it varies with.
        unit: the unit of its width; none for numbers.
        mask: whether it is true or false.
        tangent: whether it is a gradient, which is kept at a scale of its own.
    """

    op: str
    args: tuple[Any, ...]
    kind: Kind
    unit: str | None
    mask: bool = False
    tangent: bool = False
    number: int = 0

    @property
    def inputs(self) -> list["Node"]:
        """The expressions that it is made of."""
        if self.op == "product":
            product = self.args[0]
            return [block for term in product.terms for block in term.blocks] + list(product.base or ())
        return [a for a in self.args if isinstance(a, Node)]

    @property
    def is_source(self) -> bool:
        """Whether its value lies in memory before a stage begins."""
        return self.op in ("load", "product", "sum_units", "sum_rows")


@dataclass
class Term:
    """Blocks of rows that are multiplied by a matrix."""

    blocks: list[Node]
    matrix: str
    transposed: bool


@dataclass(eq=False)
class Product:
    """A sum of products of rows with matrices, and of a base."""

    terms: list[Term]
    unit: str
    width: int
    base: list[Node] | None = None


@dataclass
class Value:
    """A tensor of the step: blocks of equal kind, side by side."""

    kind: Kind
    blocks: list[Node]


@dataclass
class MatrixFactor:
    """A weight with two dimensions."""

    label: str
    transposed: bool


@dataclass
class Exchanged:
    """Rows with their dimensions exchanged."""

    value: Value


@dataclass
class Outer:
    """A gradient of a matrix: products over examples, each left-hand rows by right-hand rows, flipped or not."""

    parts: list[tuple[Value, Value, bool]] = field(default_factory=list)


class Expressions:
    """Makes expressions, each once."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}

    def make(self, op: str, args: Sequence[Any], kind: Kind, unit: str | None, mask: bool = False) -> Node:
        """An expression; the same one if it has been made before."""
        args = tuple(args)
        key = (op, tuple(id(a) if isinstance(a, Node | Product) else a for a in args), kind, unit)
        if key not in self._known:
            node = Node(op, args, kind, unit, mask, number=len(self._known))
            node.tangent = (op == "load" and str(args[0]).startswith("d")) or any(a.tangent for a in node.inputs)
            self._known[key] = node
        return self._known[key]

    def load(self, slot: str, block: int, kind: Kind, unit: str | None) -> Node:
        """What lies in a slot."""
        return self.make("load", (slot, block), kind, unit)

    def constant(self, text: str) -> Node:
        """A literal of C++."""
        return self.make("constant", (text,), "constant", None)

    def apply(self, form: str, *args: Node, mask: bool = False) -> Node:
        """An elementwise operation, written as C++ with places for its arguments."""
        kinds: set[Kind] = {a.kind for a in args}
        kind = "row" if {"number", "column"} <= kinds else max(kinds, key=lambda kind: RANK[kind])
        units = {a.unit for a in args if a.unit}
        if len(units) > 1:
            raise ValueError(f"blocks of different widths: {units}")
        return self.make(form, args, kind, next(iter(units), None), mask)

    def multiply(self, value: Value, matrix: MatrixFactor, unit: str, width: int) -> Value:
        """Rows times a matrix."""
        product = Product([Term(list(value.blocks), matrix.label, matrix.transposed)], unit, width)
        return Value("row", [self.make("product", (product, j), "row", unit) for j in range(width)])


def whole_product(value: object) -> Product | None:
    """The product that a value is, block by block, if it is one."""
    if not isinstance(value, Value) or value.kind != "row" or value.blocks[0].op != "product":
        return None
    product: Product = value.blocks[0].args[0]
    same = all(b.op == "product" and b.args[0] is product and b.args[1] == j for j, b in enumerate(value.blocks))
    return product if same and len(value.blocks) == product.width else None


def depends(node: Node, product: Product) -> bool:
    """Whether an expression needs a product."""
    seen, waiting = set[int](), [node]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op == "product" and node.args[0] is product:
            return True
        waiting += node.inputs
    return False
