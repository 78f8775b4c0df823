"""Recurrent layers: stacks and directions of one cell, with the interface of torch.nn and gradients one can see."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from rnnlab.cells import Cell, MemberWeights, States, Weights, make_cell
from rnnlab.common.errors import UserError, check_type
from rnnlab.layers.checks import (
    check_dilation,
    check_input,
    check_lengths,
    check_sizes,
    is_observable,
    split_states,
)
from rnnlab.layers.forms import run_in_form
from rnnlab.layers.initialization import Initialization, check_chrono
from rnnlab.layers.shadows import StackShadows
from rnnlab.scan import scan, scan_side_by_side
from rnnlab.scan.apart import together
from rnnlab.scan.observer import Observers, ScanCall, ScanObserver
from rnnlab.scan.order import Order
from rnnlab.scan.segments import check_segments, scan_in_segments
from rnnlab.scan.shadow import Shadows

DIRECTIONS = ("forward", "reverse")


class Recurrent(nn.Module):
    """Any cell of the library as a layer that is called like torch.nn.LSTM.

    Args:
        cell: a cell, or the name of one.
        input_size: I.
        hidden_size: H; left out when `cell` is a value that has it.
        num_layers: layers stacked, each reading the outputs of the one below.
        bias: whether biases exist.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·).
        dropout: probability of dropping an output between two layers while training.
        bidirectional: run a second cell over the reversed sequence and concatenate.
        dilation: each step reads the states this many steps back, for every layer alike or one by one.
        residual_layers: add each layer's input to its output, from the second layer on.
        checkpoint_every: compute segments of so many steps again on the way back instead of keeping them; none keeps
            all. About √T saves the most memory.
        init: starting values; torch's own if none.
        steps: length of the sequences it is meant for: that many steps get batch-norm statistics of their own,
            and chrono biases spread over it.
        generator: source of the starting values; torch's global one if none.
        cell_options: fields of the named cell.

    Reference: Chang et al. 2017, "Dilated Recurrent Neural Networks", eq. 2 (dilation).

    Example:
        >>> net = Recurrent("gru", 2, 128, num_layers=2)
        >>> output, h = net(torch.zeros(50, 8, 2))
        >>> output.shape
        torch.Size([50, 8, 128])
    """

    residual_layers: bool = False
    checkpoint_every: int | None = None
    """Steps of a segment that is computed again on the way back to save memory; none keeps all steps."""
    noise: torch.Generator | None = None
    """Source of noise inside the steps, such as zoneout; torch's global one if none."""
    copies_outputs: bool = True
    """Whether outputs may be changed in place; who never does saves a copy."""
    members: Sequence["Recurrent"] = ()
    """Layers that run side by side in this one, whose tensors are then theirs, stacked, and whose batch holds the
    examples of one after those of another."""

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden_size: int | None = None,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        residual_layers: bool = False,
        checkpoint_every: int | None = None,
        init: Initialization | None = None,
        steps: int = 1000,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        cell = _chosen(cell, hidden_size, cell_options)
        check_sizes(input_size, num_layers, steps, dropout)
        check_segments(checkpoint_every, cell)
        init = init or Initialization()
        check_chrono(init, cell)
        if not bias and (init.bias == "chrono" or cell.sets_forget_bias):
            raise UserError("bias = False leaves nothing that forget_bias or init.bias = 'chrono' could set: drop one")
        self.cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, cell.hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.residual_layers, self.steps = bidirectional, residual_layers, steps
        self.checkpoint_every, self.init, self.observers = checkpoint_every, init, Observers()
        self.dilation = check_dilation(dilation, num_layers)
        for layer, direction in self._each():
            self._add_weights(layer, direction, {"device": device, "dtype": dtype})
        self.reset_parameters(generator)
        for layer, direction in self._each():
            cell.parametrize(self, _suffix(layer, direction), steps)

    def _add_weights(self, layer: int, direction: str, kind: dict[str, Any]) -> None:
        """Register the tensors of one direction of one layer."""
        size, suffix = self.output_size if layer else self.input_size, _suffix(layer, direction)
        for name, shape in self.cell.parameter_shapes(size, self.bias).items():
            setattr(self, name + suffix, nn.Parameter(torch.empty(shape, **kind)))
        for name, shape in self.cell.buffer_shapes(self.steps).items():
            fill = 1.0 if name.startswith("running_var") else 0.0
            self.register_buffer(name + suffix, torch.full(shape, fill, **kind))

    def _each(self) -> list[tuple[int, str]]:
        """Every layer and direction, in torch's order."""
        return [(layer, direction) for layer in range(self.num_layers) for direction in self.directions]

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions in use."""
        return DIRECTIONS if self.bidirectional else DIRECTIONS[:1]

    @property
    def output_size(self) -> int:
        """Number of outputs a step, both directions together."""
        return self.cell.output_size * len(self.directions)

    @property
    def _dtype(self) -> torch.dtype:
        """That of the weights, which in a replica, or where they are generated, are plain tensors."""
        weight = next(self.parameters(), None)
        return (next(iter(self.weights().tensors.values())) if weight is None else weight).dtype

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the starting values anew."""
        check_type("generator", generator, torch.Generator | None)
        names = self.cell.parameter_shapes(1, self.bias)
        for layer, direction in self._each():
            suffix = _suffix(layer, direction)
            tensors = {name: getattr(self, name + suffix).detach() for name in names}
            self.init.fill(self.cell, tensors, generator, self.steps)
            for name in names:
                if parametrize.is_parametrized(self, name + suffix):  # the tensor was computed: give it back
                    setattr(self, name + suffix, tensors[name])

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | States | None = None,
        *,
        start: int = 0,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """Run the stack over a sequence.

        Args:
            input: (T, B, I), or (B, T, I) with `batch_first`, or (T, I) for a single sequence, or packed sequences.
            hx: states before the first step, (num_layers * directions, B, S) each: one tensor for a cell with one
                state, a tuple for more; zeros if none. A layer of dilation d has d such states in place of one.
            start: absolute time of the first step, for a sequence that is fed in pieces.
            lengths: (B,) lengths of padded sequences; steps beyond them are neither computed nor measured, and their
                outputs are zero.

        Returns:
            The top layer's outputs, shaped like the input with D*H features, and the states after the last step,
            shaped like `hx`.

        Raises:
            ShapeError: if `input`, `hx` or `lengths` do not fit the layer; it is a UserError and a RuntimeError.
        """
        return run_in_form(self._run_whole, type(self).__name__, self.batch_first, input, hx, start, lengths)

    def _run_whole(
        self, x: Tensor, hx: States | None, start: int, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, States]:
        """As `_run_stack`, with outputs that may be changed: a scan needs its own as they are, once it goes back."""
        y, finals = self._run_stack(x, hx, start, lengths)
        return y.clone() if y.requires_grad and self.copies_outputs else y, finals

    def _run_stack(
        self, x: Tensor, hx: States | None, start: int, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, States]:
        """Run all layers over (T, B, I); returns (T, B, D*H) and the stacked states after the last step."""
        check_input(x, hx, self.input_size, self._dtype)
        counts = [dilation for dilation in self.dilation for _ in self.directions]
        lengths, histories = check_lengths(lengths, x), split_states(self.cell, hx, x, counts)
        orders = {d: Order(len(x), d == "reverse", lengths) for d in self.directions}
        shadows = StackShadows(self.cell, hx, x, counts) if self._is_seen((x, *(hx or ()))) else None
        finals: list[States] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                kept = orders["forward"].map_active(torch.ones_like(x), partial(F.dropout, p=self.dropout))
                x = x * kept
                if shadows:
                    shadows.drop(kept)
            outputs, residual = [], self.residual_layers and layer > 0
            # Gradients that several readers send back are added in one order, whoever computes them.
            readers = len(self.directions) + residual
            *read, x = [x] if readers == 1 else [x.view_as(x) for _ in range(readers)]
            for direction, seen in zip(self.directions, [*read, x], strict=False):
                number = layer * len(self.directions) + len(outputs)
                own = shadows.of(number, orders[direction]) if shadows else None
                y, after = self._run(layer, direction, seen, histories[number], start, orders[direction], own)
                outputs.append(y)
                finals += after
            output = torch.cat(outputs, dim=-1) if self.bidirectional else outputs[0]
            x = x + output if residual else output
            if shadows:
                shadows.rise(residual)
        stacked = tuple(torch.stack(state) for state in zip(*finals, strict=True))
        if shadows:
            x = shadows.leave(x, stacked)
            for observer in self.observers:
                observer.leave(self, x, stacked)
        return x, stacked

    def _is_seen(self, given: States) -> bool:
        """Whether a gradient can come back through a call with these inputs and states for somebody to see."""
        if not self.observers:
            return False
        # One that is trained will do; those of a replica, or that are computed, are no parameters.
        weights = (t for layer, direction in self._each() for t in self.weights(layer, direction).tensors.values())
        if is_observable(chain(given, self.parameters(), weights)):
            return True
        for observer in self.observers:
            observer.miss(self)
        return False

    def _run(
        self, layer: int, direction: str, x: Tensor, before: list[States], start: int, order: Order, own: Shadows | None
    ) -> tuple[Tensor, list[States]]:
        """Run one direction of one layer, and let its observers follow."""
        w, x = self.weights(layer, direction), order.read(x)
        w.sizes, observers = order.sizes, list[ScanObserver]()
        history = [tuple(order.read_state(s) for s in states) for states in before]
        if own is not None:
            # Else a frozen layer below one that is trained had states without a gradient to see.
            history = [tuple(s if s.requires_grad else s.detach().requires_grad_() for s in h) for h in history]
            call = ScanCall(self, self.cell, layer, direction, w, x, history, start, order)
            observers = [observer.observe(call) for observer in self.observers]
        if isinstance(w, MemberWeights):
            y, after = scan_side_by_side([layer.cell for layer in self.members], w, x, history, start)
            return order.restore(y), after
        run = scan if self.checkpoint_every is None else partial(scan_in_segments, every=self.checkpoint_every)
        y, after = run(self.cell, w, x, history, start, observers, own)
        return order.restore(y), [tuple(order.restore_state(s) for s in states) for states in after]

    def weights(self, layer: int = 0, direction: str = "forward") -> Weights:
        """The tensors of one direction of one layer, as its cell reads them."""
        names = [*self.cell.parameter_shapes(1, self.bias), *self.cell.buffer_shapes(0)]
        suffix = _suffix(layer, direction)
        if not self.members:
            return Weights({n: getattr(self, n + suffix) for n in names}, self.training, generator=self.noise)
        # What is computed of what is trained comes from the members, each as it computes it alone.
        computed = {n for n in names if parametrize.is_parametrized(self, n + suffix)}
        tensors = {
            n: together([getattr(layer, n + suffix) for layer in self.members])
            if n in computed
            else getattr(self, n + suffix)
            for n in names
        }
        return MemberWeights(tensors, self.training, generators=[layer.noise for layer in self.members])

    def extra_repr(self) -> str:
        return f"{self.cell!r}, input_size={self.input_size}, num_layers={self.num_layers}"


def _chosen(cell: str | Cell, hidden_size: int | None, options: dict[str, Any]) -> Cell:
    """The cell of a layer, made of its name and options or handed over as it is."""
    check_type("cell", cell, str | Cell)
    if isinstance(cell, str):
        size = {} if hidden_size is None else {"hidden_size": hidden_size}
        return make_cell(cell, **size, **options)
    if hidden_size is not None or options:
        raise UserError(
            f"hidden_size and options of the cell are fields of {cell!r} already: leave them out, or name the cell"
        )
    return cell


def _suffix(layer: int, direction: str) -> str:
    """What torch.nn appends to the name of a tensor: `_l0`, `_l0_reverse`."""
    return f"_l{layer}{'_reverse' if direction == 'reverse' else ''}"
