"""From the trace of a step to its program: both directions in C++, and what the scan has to know of them."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from rnnlab.cells import Cell
from rnnlab.scan.compiled.emit import UNIT, emit
from rnnlab.scan.compiled.errors import Inexpressible
from rnnlab.scan.compiled.expressions import Expressions, Node, Outer, Product, Term, Value
from rnnlab.scan.compiled.lower import Lowering
from rnnlab.scan.compiled.operations import OPERATIONS
from rnnlab.scan.compiled.sizes import TRACED, Sizes
from rnnlab.scan.compiled.stages import Direction, Slot, is_dear
from rnnlab.scan.compiled.step_program import Operation, StepProgram, Sweep, noisy_states
from rnnlab.scan.compiled.trace import Traced, trace


def compile_step(cell: Cell, names: Sequence[str], training: bool) -> StepProgram:
    """Compile one step of a cell.

    Args:
        cell: any cell.
        names: of the layer's tensors that the step may read, without statistics.
        training: whether the layer is being trained.

    Raises:
        Inexpressible: if the step does what no compiled step can.
    """
    noise = noisy_states(cell, training)
    first, second = (_Compiler(trace(cell, names, training, sizes), noise).program() for sizes in TRACED)
    if first != second:
        raise Inexpressible("a number that follows from the sizes of the layer or the batch")
    return first


class _Compiler:
    def __init__(self, traced: Traced, noise: list[int]) -> None:
        self.traced, self.low, self.noise = traced, Lowering(traced, OPERATIONS), noise
        self.states = sum(label[0] == "n" for label in traced.outputs)
        self.coupled = any(n.op == "sum_rows" and not n.tangent for n in _all_nodes(self.low))
        self.kept: dict[int, tuple[str, Node]] = {}
        self.pairs: list[tuple[int | str, int, int, str, int, int]] = []
        self.back = Expressions()
        self._resolved: dict[int, Node] = {}
        self._products: dict[int, Product] = {}

    def program(self) -> StepProgram:
        new: list[Value] = [self.low.values[f"n{i}"] for i in range(self.states)]  # type: ignore[misc]
        self._new = {id(b): (f"n{i}", j) for i, v in enumerate(new) for j, b in enumerate(v.blocks)}
        backward = self._backward()
        forward = Direction(self.low.make, self._sources("forward"))
        for i, value in enumerate(new):
            forward.write(self._state_slot(f"n{i}", "AFTER", i), value.blocks)
        for label, node in self.kept.values():
            role = {"number": "KEPT_NUMBERS", "column": "KEPT_COLUMNS"}.get(node.kind, "KEPT_ROWS")
            forward.write(Slot(label, role, node.unit, 1), [node])
        standardised = list(enumerate(self.low.standardised))
        for i, (_, mean, _, var, _) in standardised:
            for j, value in enumerate((mean, var)):
                blocks = value.blocks
                forward.write(Slot(f"m{2 * i + j}", "KEPT_COLUMNS", blocks[0].unit, len(blocks)), blocks)
        text = [emit(forward, "forward"), emit(backward, "backward")]
        sweeps = [self._sweep(forward), self._sweep(backward)]
        operations, hoisted = _operations(self.traced.prologue, self.traced.sizes)
        return StepProgram(
            source='#include "step.h"\n\n' + "\n\n".join(text) + "\n",
            prologue=operations,
            hoisted=hoisted,
            matrices=[int(label[1:]) for label in self.low.matrices],
            forward=sweeps[0],
            backward=sweeps[1],
            coupled=self.coupled,
            statistics=self.traced.statistics,
            running=[(int(m[1:]), int(v[1:]), f"m{2 * i}", f"m{2 * i + 1}", w) for i, (m, _, v, _, w) in standardised],
            noise=self.noise,
        )

    def _sources(self, direction: str) -> list[Slot]:
        """Slots of what the step is given."""
        roles = {"x": "INPUT_ROWS", "r": "INPUT_ROWS", "q": "STEP_COLUMNS", "w": "FIXED_COLUMNS", "s": "BEFORE"}
        slots = []
        for label, (_, unit, blocks) in self.low.inputs.items():
            if label[0] in roles:
                number = int(label[1:] or 0)
                slots.append(Slot(label, roles[label[0]], unit, blocks, number))
            elif direction == "backward":
                slots.append(Slot(label, "TANGENT", unit, blocks, int(label[1:])))
        if direction == "backward":
            for i in range(self.states):
                slots.append(self._state_slot(f"n{i}", "AFTER", i))
        return slots

    def _state_slot(self, label: str, role: str, state: int) -> Slot:
        _, unit, blocks = self.low.inputs[f"s{state}"]
        return Slot(label, role, unit, blocks, state)

    # The way back

    def _backward(self) -> Direction:
        outputs = {k: self._value(v) for k, v in self.low.values.items() if k[0] != "n" and not isinstance(v, Outer)}
        weights = [(k, v) for k, v in self.low.values.items() if k[0] == "w" and v is not None]
        direction = Direction(self.back, self._sources("backward"))
        for i in range(self.states):
            total = outputs[f"t{i}"]
            if total is not None and any(b.op != "load" or b.args != (f"d{i}", j) for j, b in enumerate(total.blocks)):
                direction.write(self._state_slot(f"t{i}", "TOTAL", i), total.blocks)
            slot = self._state_slot(f"e{i}", "NEXT", i)
            zero = Value("constant", [self.back.constant("T(0)")] * slot.blocks)
            direction.write(slot, self._spread(outputs[f"s{i}"] or zero, slot.blocks).blocks)
        if outputs["x"] is not None:
            _, unit, blocks = self.low.inputs["x"]
            direction.write(Slot("dx", "INPUT_GRADIENT", unit, blocks), self._spread(outputs["x"], blocks).blocks)
        for label, value in weights:
            if isinstance(value, Outer):
                for left, right, flip in value.parts:
                    self._pair(direction, int(label[1:]), self._value(left), self._value(right), flip)
            else:
                self._column(direction, int(label[1:]), self._value(value))
        for label, node in self.kept.values():
            role = {"number": "KEPT_NUMBERS", "column": "KEPT_COLUMNS"}.get(node.kind, "KEPT_ROWS")
            direction.slots[label] = Slot(label, role, node.unit, 1)
        return direction

    @staticmethod
    def _spread(value: Value, blocks: int) -> Value:
        return value if len(value.blocks) == blocks else Value(value.kind, value.blocks * blocks)

    def _pair(self, direction: Direction, weight: int, left: Value, right: Value, flip: bool) -> None:
        """A gradient of a matrix: which side holds the gradients decides how it is laid out."""
        if any(b.tangent for b in left.blocks):
            left, right, flip = right, left, not flip
        if any(b.tangent for b in left.blocks) or not any(b.tangent for b in right.blocks):
            raise Inexpressible("a gradient of a weight that is not linear in those of the states")
        operand = self._operand(direction, right)
        slot, block = direction.find(left.blocks, f"l{len(self.pairs)}")
        self.pairs.append((slot, block, len(left.blocks), operand, int(flip), weight))

    def _operand(self, direction: Direction, value: Value) -> str:
        for label, rows in direction.rows.items():
            same = len(rows) == len(value.blocks) and all(a is b for a, b in zip(rows, value.blocks, strict=True))
            if direction.slots[label].role == "OPERAND" and same:
                return label
        label = f"o{len(direction.slots)}"
        direction.write(Slot(label, "OPERAND", value.blocks[0].unit, len(value.blocks)), value.blocks)
        return label

    def _column(self, direction: Direction, weight: int, value: Value) -> None:
        """A gradient of a vector: a sum over examples, or where examples are coupled whatever it is."""
        _, unit, blocks = self.low.inputs[f"w{weight}"]
        rows = None if self.coupled else [self._summed(b) for b in value.blocks]
        if rows is not None:
            if any(r is None for r in rows):
                raise Inexpressible("a gradient of a vector that is no sum over examples")
            operand = self._operand(direction, Value("row", [r for r in rows if r is not None]))
            self.pairs.append((-1, 0, 0, operand, 0, weight))
            return
        slot = Slot(f"c{weight}", "SUM_COLUMNS", unit, blocks, weight)
        direction.write(slot, value.blocks, add=True)

    def _summed(self, node: Node) -> Node | None:
        """What a column is the sum of over examples, example by example."""
        if node.op == "sum_rows":
            return node.args[0]
        if node.op == "{0} + {1}":
            both = [self._summed(a) for a in node.args]
            return None if None in both else self.back.apply(node.op, *both)  # type: ignore[arg-type]
        if node.op in ("-{0}", "{0} * {1}", "{0} / {1}", "({0})"):
            args = [self._summed(a) if a.tangent else a for a in node.args]
            tangents = sum(a.tangent for a in node.args)
            if tangents != 1 or None in args or (node.op == "{0} / {1}" and not node.args[0].tangent):
                return None
            return self.back.apply(node.op, *args)  # type: ignore[arg-type]
        return None

    def _value(self, value: Value | None) -> Any:
        return None if value is None else Value(value.kind, [self._resolve(b) for b in value.blocks])

    def _resolve(self, node: Node) -> Node:
        """An expression as the way back has it: what the way forward made is read, or where cheap made again."""
        if id(node) not in self._resolved:
            self._resolved[id(node)] = self._resolve_new(node)
        return self._resolved[id(node)]

    def _resolve_new(self, node: Node) -> Node:
        make = self.back
        if node.op in ("load", "constant"):
            return make.make(node.op, node.args, node.kind, node.unit)
        if node.tangent:
            if node.op == "product":
                product = self._resolve_product(node.args[0])
                return make.make("product", (product, node.args[1]), "row", node.unit)
            return make.make(node.op, [self._resolve(a) for a in node.args], node.kind, node.unit, node.mask)
        if id(node) in self._new:
            return make.load(*self._new[id(node)], "row", node.unit)
        if self._is_kept(node):
            if id(node) not in self.kept:
                self.kept[id(node)] = f"k{len(self.kept)}", node
            return make.load(self.kept[id(node)][0], 0, node.kind, node.unit)
        return make.make(node.op, [self._resolve(a) for a in node.args], node.kind, node.unit, node.mask)

    def _is_kept(self, node: Node) -> bool:
        """Whether the way forward keeps a value: a dear one, or one instead of several that it would keep."""
        if node.mask or node.kind in ("constant", "scalar"):
            return False
        return is_dear(node) or node.kind == "number" or len(self._dear_inputs(node)) > 1

    def _dear_inputs(self, node: Node) -> set[int]:
        """The values that it would have to keep to make this one again."""
        if id(node) in self._new or id(node) in self.kept or node.op in ("load", "constant"):
            return set()
        if is_dear(node):
            return {id(node)}
        return set[int]().union(*(self._dear_inputs(a) for a in node.inputs))

    def _resolve_product(self, product: Product) -> Product:
        if id(product) not in self._products:
            terms = [Term([self._resolve(b) for b in t.blocks], t.matrix, t.transposed) for t in product.terms]
            base = None if product.base is None else [self._resolve(b) for b in product.base]
            self._products[id(product)] = Product(terms, product.unit, product.width, base)
        return self._products[id(product)]

    # What the scan has to know

    def _sweep(self, direction: Direction) -> Sweep:
        index = {label: i for i, label in enumerate(direction.slots)}
        slots = [
            (s.label, s.role, -1 if s.unit is None else UNIT[s.unit], s.blocks, s.state)
            for s in direction.slots.values()
        ]
        products, terms = [], []
        for product in direction.products:
            base = direction.bases.get(id(product))
            out = index[direction.out[id(product)]]
            products.append((out, -1 if base is None else index[base], len(terms), len(product.terms)))
            for term, (slot, block) in zip(product.terms, direction.sources[id(product)], strict=True):
                matrix = self.low.matrices.index(term.matrix)
                terms.append((index[slot], block, len(term.blocks), matrix, int(term.transposed)))
        pairs = []
        if "d0" in index:
            for left, block, blocks, operand, flip, weight in self.pairs:
                pairs.append((-1 if left == -1 else index[str(left)], block, blocks, index[operand], flip, weight))
        return Sweep(slots, products, terms, pairs)


def _all_nodes(low: Lowering) -> list[Node]:
    found, waiting = dict[int, Node](), []
    for value in low.values.values():
        if isinstance(value, Outer):
            waiting += [b for left, right, _ in value.parts for b in [*left.blocks, *right.blocks]]
        elif value is not None:
            waiting += value.blocks
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += node.inputs
    return list(found.values())


def _operations(graph: fx.Graph, sizes: Sizes) -> tuple[list[Operation], list[int]]:
    """The prologue as a list, and which of its results are hoisted."""
    index, operations = dict[fx.Node, int](), list[Operation]()
    for node in graph.nodes:
        if node.op == "placeholder":
            index[node] = len(index)
        elif node.op == "call_function":
            own = {k: v for k, v in node.kwargs.items() if k not in ("device", "layout", "pin_memory")}
            kwargs = {k: _encoded(v, index, sizes) for k, v in own.items()}
            operations.append(Operation(_name(node.target), _encoded(list(node.args), index, sizes), kwargs))
            index[node] = len(index)
    (output,) = (n for n in graph.nodes if n.op == "output")
    return operations, [index[n] for n in output.args[0]]


def _name(target: Any) -> str:
    return "getitem" if target is operator.getitem else f"{target.name()}:{str(target).rpartition('.')[2]}"


def _encoded(value: Any, index: Mapping[fx.Node, int], sizes: Sizes) -> Any:
    """An argument as text can hold it."""
    if isinstance(value, fx.Node):
        return {"node": index[value]}
    if isinstance(value, list | tuple):
        return [_encoded(v, index, sizes) for v in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return sizes.symbolic(value)
    if value == torch.float64:  # that of the traced step
        return {"real": True}
    if value is None or isinstance(value, bool | str):
        return value
    raise Inexpressible(f"{value!r} among what follows from the weights")
