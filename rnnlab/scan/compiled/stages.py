"""The order of a step: stages of elementwise work, with products and sums over units or examples between them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rnnlab.scan.compiled.elementwise import DEAR
from rnnlab.scan.compiled.expressions import Expressions, Node, Product, Value, whole_product

DIRECT = ("NEXT", "AFTER", "INPUT_GRADIENT")
"""Slots that a product may be written to as it is made."""
ROWS = ("AFTER", "KEPT_ROWS", "SCRATCH_ROWS", "NEXT", "TOTAL", "OPERAND", "INPUT_GRADIENT")
"""What slots with a row for every example hold."""


@dataclass
class Slot:
    """Memory that a step reads or writes.

    Attributes:
        label: its name in the generated code.
        role: what it holds; a name of the enumeration in calls.h.
        unit: the unit of its width; none for numbers.
        blocks: how many blocks of that unit a row has.
        state: which state, weight or tensor from outside it belongs to.
    """

    label: str
    role: str
    unit: str | None
    blocks: int
    state: int = 0


@dataclass
class Store:
    """An expression that is written to a block of a slot, or added to what stands there."""

    node: Node
    slot: str
    block: int
    add: bool = False


@dataclass
class Stage:
    """Elementwise work that can be done together, and the products that follow it.

    Attributes:
        order: expressions in the order in which they are computed; those in `reloaded` are read back.
        reloaded: expressions that an earlier stage has computed and stored.
        sums: sums over units or examples that this stage makes.
        products: what can be multiplied once it is done.
    """

    order: list[Node] = field(default_factory=list)
    reloaded: set[int] = field(default_factory=set)
    sums: list[Node] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)


class Direction:
    """One way through a step, forward or back: its slots, and in which stages it is done.

    Args:
        make: the maker of its expressions.
        slots: everything that it reads, by label.
    """

    def __init__(self, make: Expressions, slots: Iterable[Slot]) -> None:
        self.make, self.slots = make, {slot.label: slot for slot in slots}
        self.stores: dict[int, list[Store]] = {}
        self.rows: dict[str, list[Node]] = {}
        self.products: list[Product] = []
        self.out: dict[int, str] = {}
        self._direct: list[Node] = []
        self.sources: dict[int, list[tuple[str, int]]] = {}
        self.bases: dict[int, str] = {}
        self._levels: dict[int, int] = {}
        self._roots: dict[int, list[Node]] = {}

    def write(self, slot: Slot, blocks: Sequence[Node], add: bool = False) -> None:
        """Have blocks written to a slot of their own."""
        self.slots[slot.label] = slot
        self.rows[slot.label] = list(blocks)
        product = whole_product(Value("row", list(blocks)))
        if product is not None and slot.role in DIRECT and id(product) not in self.out:
            self.out[id(product)] = slot.label
            self._direct += blocks
            return
        for i, block in enumerate(blocks):
            self._store(Store(block, slot.label, i, add))

    def find(self, blocks: Sequence[Node], label: str) -> tuple[str, int]:
        """Where blocks lie side by side: the slot and the first block; in a new scratch slot if nowhere yet."""
        first = blocks[0]
        if first.op == "load" and first.kind == "row":
            slot, at = first.args
            if all(b.op == "load" and b.args == (slot, at + i) for i, b in enumerate(blocks)):
                return slot, at
        for slot, rows in self.rows.items():
            for at in range(len(rows) - len(blocks) + 1):
                same = all(a is b for a, b in zip(rows[at:], blocks, strict=False))
                if same and self.slots[slot].role not in ("SUM_COLUMNS", "INPUT_GRADIENT"):
                    return slot, at
        self.write(Slot(label, "SCRATCH_ROWS", first.unit, len(blocks)), blocks)
        return label, 0

    def plan(self) -> list[Stage]:
        """Put everything in order."""
        self._place_products()
        reachable = self._reachable()
        sums = [n for n in reachable if n.op in ("sum_units", "sum_rows")]
        for node in sums:
            role = "SCRATCH_NUMBERS" if node.op == "sum_units" else "SCRATCH_COLUMNS"
            self.slots[f"z{node.number}"] = Slot(f"z{node.number}", role, node.unit, 1)
            for a in node.inputs:
                self._root(a, self.level(node) - 1)
        last = max([*self._roots, *(self.product_level(p) for p in self.products)], default=0)
        stages, done = [], dict[int, int]()
        for s in range(last + 1):
            stage = Stage()
            for node in self._roots.get(s, []):
                self._need(node, stage, done)
            for node in stage.order:
                done.setdefault(id(node), s)
            stage.sums = [n for n in sums if self.level(n) - 1 == s]
            stage.products = [p for p in self.products if self.product_level(p) == s]
            stages.append(stage)
        return stages

    def _need(self, node: Node, stage: Stage, done: dict[int, int]) -> None:
        if node in stage.order or node.op == "constant":
            return
        if not node.is_source:
            if id(node) in done:
                readable = any(not s.add for s in self.stores.get(id(node), []))
                if not readable and not node.mask and (is_dear(node) or node.kind == "number"):
                    self._keep(node)
                    readable = True
                if readable and not node.mask:
                    stage.order.append(node)
                    stage.reloaded.add(id(node))
                    return
            for a in node.inputs:
                self._need(a, stage, done)
        stage.order.append(node)

    def _keep(self, node: Node) -> None:
        """Have an expression stored where it is computed, for later stages."""
        role = {"number": "SCRATCH_NUMBERS", "column": "SCRATCH_COLUMNS"}.get(node.kind, "SCRATCH_ROWS")
        label = f"y{node.number}"
        self.slots[label] = Slot(label, role, node.unit, 1)
        self.stores.setdefault(id(node), []).append(Store(node, label, 0))

    def _store(self, store: Store) -> None:
        node, slot = store.node, self.slots[store.slot]
        if slot.role in ROWS and node.kind != "row":
            node = store.node = self.make.make("vector_of({0})", (node,), "row", slot.unit)
        elif node.is_source:  # a copy, in a stage that can be told when it is done
            node = store.node = self.make.apply("({0})", node)
        self.stores.setdefault(id(node), []).append(store)
        self._root(node, self.level(node))

    def _root(self, node: Node, level: int) -> None:
        roots = self._roots.setdefault(level, [])
        if not any(n is node for n in roots):
            roots.append(node)

    def level(self, node: Node) -> int:
        """The stage in which an expression is there."""
        if id(node) not in self._levels:
            if node.op in ("load", "constant"):
                level = 0
            elif node.op == "product":
                level = self.product_level(node.args[0]) + 1
            else:
                level = max((self.level(a) for a in node.inputs), default=0) + (node.op in ("sum_units", "sum_rows"))
            self._levels[id(node)] = level
        return self._levels[id(node)]

    def product_level(self, product: Product) -> int:
        """The stage after which a product can be made."""
        blocks = [b for term in product.terms for b in term.blocks] + list(product.base or ())
        return max(self.level(b) for b in blocks)

    def _reachable(self) -> list[Node]:
        """Everything that what is written depends on."""
        found: dict[int, Node] = {}
        waiting = [s.node for stores in self.stores.values() for s in stores] + self._direct
        while waiting:
            node = waiting.pop()
            if id(node) not in found:
                found[id(node)] = node
                waiting += node.inputs
        return list(found.values())

    def _place_products(self) -> None:
        """Find where each product reads and writes; what it reads may have to be written first."""
        while True:
            used = {id(n.args[0]): n.args[0] for n in self._reachable() if n.op == "product"}
            fresh = [p for p in used.values() if not any(p is q for q in self.products)]
            if not fresh:
                break
            for product in fresh:
                self.products.append(product)
                k = len(self.products) - 1
                if id(product) not in self.out:
                    self.slots[f"p{k}"] = Slot(f"p{k}", "SCRATCH_ROWS", product.unit, product.width)
                    self.out[id(product)] = f"p{k}"
                self.sources[id(product)] = [self.find(t.blocks, f"a{k}_{j}") for j, t in enumerate(product.terms)]
                if product.base:
                    self.bases[id(product)] = self._base(product.base, k)

    def _base(self, blocks: Sequence[Node], k: int) -> str:
        first = blocks[0]
        if first.kind == "column" and first.op == "load":
            slot = first.args[0]
            whole = len(blocks) == self.slots[slot].blocks and self.slots[slot].role == "FIXED_COLUMNS"
            if whole and all(b.op == "load" and b.args == (slot, i) for i, b in enumerate(blocks)):
                return slot
        rows = [b if b.kind == "row" else self.make.apply("({0})", b) for b in blocks]
        label, at = self.find(rows, f"b{k}")
        if at or len(blocks) != self.slots[label].blocks:  # a base begins where its slot begins
            label = f"b{k}"
            self.write(Slot(label, "SCRATCH_ROWS", first.unit, len(blocks)), rows)
        return label


def is_dear(node: Node) -> bool:
    """Whether an expression is better kept than computed again."""
    return node.op not in ("load", "constant") and (node.is_source or any(d in node.op for d in DEAR))
