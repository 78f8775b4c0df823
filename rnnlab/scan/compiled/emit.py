"""C++ of one direction of a step."""

from collections.abc import Iterable

from rnnlab.scan.compiled.errors import Inexpressible
from rnnlab.scan.compiled.expressions import Node
from rnnlab.scan.compiled.stages import Direction, Stage, Store
from rnnlab.scan.compiled.step_program import UNITS

UNIT = {unit: i for i, unit in enumerate(UNITS)}


def emit(direction: Direction, name: str) -> str:
    """Write the function that does one step.

    Args:
        direction: what is to be done.
        name: of the function.
    """
    stages = direction.plan()
    places = {label: i for i, label in enumerate(direction.slots)}
    lines = [f'extern "C" void {name}(const Frame* f) {{', "const long rows = f->rows;", "const T B = T(rows);"]
    for label, i in places.items():
        lines.append(f"T* const {label} = (T*)f->at[{i}]; const long ld_{label} = f->ld[{i}];")
    numbers = sorted({n.args[0] for s in stages for n in s.order if n.kind == "scalar" and n.op == "load"})
    lines += [f"const T {label} = T(f->numbers[{label[1:]}]);" for label in numbers]
    for stage in stages:
        lines += _Writer(direction, stage).lines()
    lines += ["}"]
    quiet = [f"(void){label}; (void)ld_{label};" for label in places]
    return "\n".join([*lines[:-1], "(void)B; " + " ".join(quiet), "}"])


class _Writer:
    """Writes one stage."""

    def __init__(self, direction: Direction, stage: Stage) -> None:
        self.direction, self.stage = direction, stage
        self.columnwise = any(n.op == "sum_rows" for n in stage.sums) or any(
            n.kind == "column" and not n.is_source and id(n) not in stage.reloaded for n in stage.order
        )

    def lines(self) -> list[str]:
        order = self.stage.order
        work = [n for n in order if n.kind in ("row", "column")]
        numbers = [n for n in order if n.kind == "number"]
        lines: list[str] = []
        if work or numbers or self.stage.sums:
            lines += self._columnwise(work, numbers) if self.columnwise else self._rowwise(work, numbers)
        for product in self.stage.products:
            lines.append(f"f->multiply(f->scan, {self.direction.products.index(product)});")
        return lines

    def _rowwise(self, work: list[Node], numbers: list[Node]) -> list[str]:
        """Example by example, over its units."""
        lines = ["for (long r = 0; r < rows; r++) {"]
        for node in numbers:
            lines += [self._declared(node), *self._stored(node)]
        for node in self.stage.sums:
            lines.append(f"V sum{node.number}{{}};")
        for unit in _units([*work, *(a for n in self.stage.sums for a in n.inputs)]):
            lines.append(_loop(unit))
            for node in work:
                if node.unit == unit:
                    lines += [self._declared(node), *self._stored(node)]
            for node in self.stage.sums:
                for a in node.inputs:
                    if a.unit == unit:
                        value = f"vector_of({self._name(a)})"
                        lines.append(f"sum{node.number} += first({value}, f->width[{UNIT[unit]}] - o);")
            lines.append("}")
        lines += [f"z{node.number}[r] = sum<T>(sum{node.number});" for node in self.stage.sums]
        return [*lines, "}"]

    def _columnwise(self, work: list[Node], numbers: list[Node]) -> list[str]:
        """Unit by unit, over the examples."""
        if any(n.op == "sum_units" for n in self.stage.sums):
            raise Inexpressible("sums over units and over examples at once")
        if any(not n.is_source and id(n) not in self.stage.reloaded for n in numbers):
            raise Inexpressible("numbers of examples made from sums over examples")
        lines: list[str] = []
        for unit in _units([*work, *(a for n in self.stage.sums for a in n.inputs)]):
            sums = [n for n in self.stage.sums if n.unit == unit]
            lines.append(_loop(unit))
            for node in work:
                if node.unit == unit and node.kind == "column":
                    lines += [self._declared(node), *self._stored(node)]
            lines += [f"V sum{node.number}{{}};" for node in sums]
            rows = [n for n in work if n.unit == unit and n.kind == "row"]
            if rows or sums:
                lines.append("for (long r = 0; r < rows; r++) {")
                lines += [self._declared(n) for n in numbers]
                for node in rows:
                    lines += [self._declared(node), *self._stored(node)]
                lines += [f"sum{n.number} += vector_of({self._name(n.args[0])});" for n in sums]
                lines.append("}")
            lines += [f"store(z{n.number} + o, sum{n.number});" for n in sums]
            lines.append("}")
        return lines

    def _declared(self, node: Node) -> str:
        value = self._source(node)
        if value is None:
            value = node.op.format(*(self._name(a) for a in node.args))
        return f"const auto v{node.number} = {value};"

    def _source(self, node: Node) -> str | None:
        """C++ that reads what lies in memory already."""
        if id(node) in self.stage.reloaded:
            store = next(s for s in self.direction.stores[id(node)] if not s.add)
            return self._read(store.slot, store.block, node)
        if node.op == "load":
            return self._read(node.args[0], node.args[1], node)
        if node.op == "product":
            return self._read(self.direction.out[id(node.args[0])], node.args[1], node)
        if node.op in ("sum_units", "sum_rows"):
            return self._read(f"z{node.number}", 0, node)
        return None

    def _read(self, slot: str, block: int, node: Node) -> str:
        return f"{slot}[r]" if node.kind == "number" else f"load({_place(slot, block, node)})"

    def _stored(self, node: Node) -> Iterable[str]:
        if id(node) in self.stage.reloaded:
            return []
        return [self._store(store) for store in self.direction.stores.get(id(node), [])]

    def _store(self, store: Store) -> str:
        node = store.node
        if node.kind == "number":
            return f"{store.slot}[r] = v{node.number};"
        place, value = _place(store.slot, store.block, node), f"vector_of(v{node.number})"
        if store.add:
            return f"store({place}, load({place}) + {value} * T(f->scale));"
        return f"store({place}, {value});"

    def _name(self, node: Node) -> str:
        if node.kind not in ("constant", "scalar"):
            return f"v{node.number}"
        if node.op in ("constant", "load"):
            return node.args[0]
        return f"({node.op.format(*(self._name(a) for a in node.args))})"


def _place(slot: str, block: int, node: Node) -> str:
    at = f"{block} * f->padded[{UNIT[node.unit]}] + o"  # type: ignore[index]
    return f"{slot} + r * ld_{slot} + {at}" if node.kind == "row" else f"{slot} + {at}"


def _loop(unit: str) -> str:
    return f"for (long o = 0; o < f->padded[{UNIT[unit]}]; o += L) {{"


def _units(nodes: Iterable[Node]) -> list[str]:
    return list(dict.fromkeys(n.unit for n in nodes if n.unit))
