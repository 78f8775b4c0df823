"""A cell's step as graphs of torch operations: what follows from weights alone, and one step with its way back."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, fx

from rnnlab.cells import Cell, Weights
from rnnlab.common import torch_private
from rnnlab.scan.compiled.errors import Inexpressible, in_words
from rnnlab.scan.compiled.sizes import Sizes
from rnnlab.scan.compiled.step_program import noisy_states, numbers_of

WHOLE = (torch.ops.aten.select_backward.default, torch.ops.aten.slice_backward.default)
"""Operations that say more than what they are made of."""


class _Time(int):
    """The absolute time of a traced step, which stands for every time: only sums with whole numbers may be made."""

    def __add__(self, other: int) -> "_Time":
        return self

    __radd__ = __add__

    def _refuse(self, *_: Any) -> NoReturn:
        raise Inexpressible("a step that depends on the time t")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __mod__ = __bool__ = __mul__ = __index__ = _refuse  # type: ignore[assignment]
    __sub__ = __floordiv__ = __truediv__ = __neg__ = __rsub__ = __rmul__ = __pow__ = __int__ = __float__ = _refuse  # type: ignore[assignment]
    __hash__ = int.__hash__


class _TracedWeights(Weights):
    """Weights whose noise and whose statistics of a step are inputs of the step."""

    def __init__(
        self,
        tensors: dict[str, Tensor],
        training: bool,
        rows: int,
        noise: Sequence[Tensor],
        statistics: dict[str, Tensor],
    ) -> None:
        super().__init__(tensors, training)
        self.sizes = [rows]
        self._noise, self._statistics = list(noise), statistics

    def uniform(self, like: Tensor) -> Tensor:
        return self._noise.pop(0)

    def at_step(self, name: str, t: int) -> Tensor:
        return self._statistics[name]


@dataclass
class Traced:
    """A step taken apart.

    Attributes:
        prologue: from weights and numbers to what the step reads of them.
        joint: from rows, hoisted tensors and gradients of the new states to the new states and all gradients.
        labels: of the placeholders of `joint`, in turn: `x`, `s0` (states), `r0` (noise), `q0` (statistics of the
            step), `w0` (hoisted tensors), `d0` (gradients).
        outputs: of `joint`, by label: `n0` (new states), `t0` (total gradients), `x`, `s0`, `w0`; none where zero.
        hoisted: shape of each hoisted tensor.
        sizes: at which it was traced.
        statistics: names of the statistics, in turn.
    """

    prologue: fx.Graph
    joint: fx.Graph
    labels: list[str]
    outputs: dict[str, fx.Node | None]
    hoisted: list[tuple[int, ...]]
    sizes: Sizes
    statistics: list[str]


def trace(cell: Cell, names: Sequence[str], training: bool, sizes: Sizes) -> Traced:
    """Take one step of a cell apart.

    Args:
        cell: any cell.
        names: of the layer's tensors that the step may read, without statistics.
        training: whether the layer is being trained.
        sizes: at which to trace it.

    Raises:
        Inexpressible: if the step does what no compiled step can.
    """
    with torch.random.fork_rng(devices=[]):
        return _Tracer(cell, names, training, sizes).run()


class _Tracer:
    def __init__(self, cell: Cell, names: Sequence[str], training: bool, sizes: Sizes) -> None:
        H, I, P = sizes.widths.values()
        self.sizes = sizes
        self.numbers = numbers_of(cell)
        self.original, self.training, self.names = cell, training, list(names)
        self.cell = cell.resized(H, P)
        shapes, kept = self.cell.parameter_shapes(I), self.cell.buffer_shapes(1)
        self.statistics = [name for name in kept if not cell.couples_inputs]
        rows = lambda width: torch.zeros(sizes.rows, width, dtype=torch.float64)  # noqa: E731
        self.tensors = [torch.zeros(shapes[name], dtype=torch.float64) for name in self.names]
        inputs = self.cell.blocks * H if cell.couples_inputs else I
        self.x, self.states = rows(inputs), [rows(size) for size in self.cell.state_sizes]
        self.noise = [rows(self.cell.state_sizes[i]) for i in noisy_states(cell, training)]
        self.columns = [torch.zeros(kept[name][-1], dtype=torch.float64) for name in self.statistics]
        self.scalars = [torch.zeros((), dtype=torch.float64) for _ in self.numbers]

    def step(self, x: Tensor, states: Any, noise: Any, columns: Any, tensors: Any, scalars: Any) -> Any:
        cell = self.cell.model_copy(update=dict(zip(self.numbers, scalars, strict=True)))
        statistics = dict(zip(self.statistics, columns, strict=True))
        w = _TracedWeights(dict(zip(self.names, tensors, strict=True)), self.training, len(x), noise, statistics)
        w.tensors |= {name: statistics[name].unsqueeze(0) for name in statistics}
        time = _Time()
        u = x if cell.couples_inputs else cell.project(w, x.unsqueeze(0), time).squeeze(0)
        new = cell.step(w, u, tuple(states), time)
        new = list(cell.zone_out(w, tuple(states), new) if self.original.zoneout else new)
        known = [x, u, *states]
        for i, state in enumerate(new):  # one that is handed on has a gradient of its own
            new[i] = state.clone() if any(state is other for other in (*known, *new[:i])) else state
        return new

    def run(self) -> Traced:
        rows = [self.x, self.states, self.noise, self.columns]
        forward = _traced(self.step, *rows, self.tensors, self.scalars)
        body, prologue, count = _hoist(forward, len(self.tensors) + len(self.scalars))
        prologue_module = fx.GraphModule({}, prologue)
        hoisted = list(prologue_module(*(t.requires_grad_() for t in self.tensors), *self.scalars))
        if any(t.dim() == 0 and t.requires_grad for t in hoisted):
            raise Inexpressible("a single number that is trained")
        given = [n for n in prologue.nodes if n.op == "placeholder"][: len(self.tensors)]
        (made,) = (n.args[0] for n in prologue.nodes if n.op == "output")
        if any(t.dim() == 0 and _follows(n, given) for t, n in zip(hoisted, made, strict=True)):
            raise Inexpressible("a single number that follows from weights")
        assert len(hoisted) == count
        trained = [i for i, t in enumerate(hoisted) if t.dim() > 0]

        def joint(x: Tensor, states: Any, noise: Any, columns: Any, hoisted: Any, gradients: Any) -> Any:
            x, states = x.requires_grad_(), [s.requires_grad_() for s in states]
            hoisted = [t.requires_grad_() if i in trained else t for i, t in enumerate(hoisted)]
            with torch.enable_grad():
                new = fx.GraphModule({}, body)(x, *states, *noise, *columns, *hoisted)
                wanted = [*new, x, *states, *(hoisted[i] for i in trained)]
                found = torch.autograd.grad(new, wanted, gradients, allow_unused=True)
            return [*new, *found]

        gradients = [torch.zeros_like(s) for s in self.states]
        detached = [t.detach() for t in hoisted]
        graph = _traced(joint, *rows, detached, gradients)
        S = len(self.states)
        labels = ["x", *(f"s{i}" for i in range(S)), *(f"r{i}" for i in range(len(self.noise)))]
        labels += [f"q{i}" for i in range(len(self.columns))] + [f"w{i}" for i in range(count)]
        labels += [f"d{i}" for i in range(S)]
        flat = next(n for n in graph.nodes if n.op == "output").args[0]
        keys = [*(f"n{i}" for i in range(S)), *(f"t{i}" for i in range(S)), "x", *(f"s{i}" for i in range(S))]
        outputs = dict(zip([*keys, *(f"w{i}" for i in trained)], flat, strict=True))
        shapes = [tuple(t.shape) for t in hoisted]
        return Traced(prologue, graph, labels, outputs, shapes, self.sizes, self.statistics)


def _traced(function: Callable[..., Any], *arguments: Any) -> fx.Graph:
    try:
        return torch_private.write_down(function, arguments, WHOLE)
    except Inexpressible:
        raise
    except Exception as error:  # of a user's own step, or of torch's tracer
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise Inexpressible(f"a step that torch cannot trace ({said[:200]})") from error


def _hoist(graph: fx.Graph, weights: int) -> tuple[fx.Graph, fx.Graph, int]:
    """Part a step into what depends on weights and numbers alone and the rest.

    Args:
        graph: of a step whose last placeholders are the weights and numbers.
        weights: how many these are.

    Returns:
        The step, which reads hoisted tensors in place of weights; the prologue; the number of hoisted tensors.
    """
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    rows, own = placeholders[: len(placeholders) - weights], placeholders[len(placeholders) - weights :]
    live = _live(graph)
    moving, frontier = set(rows), dict[fx.Node, None]()
    for node in graph.nodes:
        if node in live:
            _check(node)
        if node.op != "call_function" or node not in live:
            continue
        if any(a in moving for a in node.all_input_nodes):
            moving.add(node)
            frontier |= {a: None for a in node.all_input_nodes if a not in moving}
    (output,) = (n for n in graph.nodes if n.op == "output")
    if any(a not in moving for a in output.args[0]):
        raise Inexpressible("a state that does not depend on inputs and states")
    prologue, copies = fx.Graph(), {}
    for node in own:
        copies[node] = prologue.placeholder(node.name)
    for node in graph.nodes:
        if node.op == "call_function" and node in live and node not in moving:
            copies[node] = prologue.node_copy(node, copies.__getitem__)
    prologue.output([copies[node] for node in frontier])
    prologue.eliminate_dead_code()
    body, copies = fx.Graph(), {}
    for i, node in enumerate(rows):
        copies[node] = body.placeholder(f"row{i}")
    for i, node in enumerate(frontier):
        copies[node] = body.placeholder(f"hoisted{i}")
    for node in graph.nodes:
        if node.op == "call_function" and node in moving:
            copies[node] = body.node_copy(node, copies.__getitem__)
    body.output([copies[a] for a in output.args[0]])
    return body, prologue, len(frontier)


def _live(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that the outputs depend on."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in live:
            live |= set(node.all_input_nodes)
    return live


def _follows(node: fx.Node, given: Sequence[fx.Node]) -> bool:
    """Whether a node follows from one of these."""
    return node in given or any(_follows(a, given) for a in node.all_input_nodes)


def _check(node: fx.Node) -> None:
    """Refuse what no compiled step can hold: complex numbers, and what would be done once if it left the loop."""
    value = node.meta.get("val")
    if isinstance(value, Tensor) and value.is_complex():
        raise Inexpressible(f"complex numbers ({in_words(node.target)})")
    if node.op == "get_attr":
        raise Inexpressible("a tensor that is no weight of the layer")
    if node.op != "call_function" or node.target is operator.getitem:
        return
    if not torch_private.is_repeatable(node.target):
        raise Inexpressible(f"{in_words(node.target)}, which gives something else whenever it is done")
