"""Recurrent layers: stacks and directions of one cell, with the interface of torch.nn and gradients one can see."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.cells import Cell, States, Weights, make_cell
from rnnlab.errors import UserError
from rnnlab.initialization import Initialization
from rnnlab.scan.reference import scan

if TYPE_CHECKING:
    from rnnlab.recording import Recorder

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
        residual_layers: add each layer's input to its output, from the second layer on.
        init: starting values; torch's own if none.
        steps: length of the sequences it is meant for: that many steps get batch-norm statistics of their own,
            and chrono biases spread over it.
        generator: source of the starting values; torch's global one if none.
        cell_options: fields of the named cell.

    Example:
        >>> net = Recurrent("gru", 2, 128, num_layers=2)
        >>> output, h = net(torch.zeros(50, 8, 2))
        >>> output.shape
        torch.Size([50, 8, 128])
    """

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
        residual_layers: bool = False,
        init: Initialization | None = None,
        steps: int = 1000,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        if isinstance(cell, str):
            size = {} if hidden_size is None else {"hidden_size": hidden_size}
            cell = make_cell(cell, **size, **cell_options)
        self.cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, cell.hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.residual_layers, self.steps = bidirectional, residual_layers, steps
        self.init = init or Initialization()
        self.recorder: Recorder | None = None
        for layer in range(num_layers):
            size = input_size if layer == 0 else self.output_size
            for direction in self.directions:
                for name, shape in cell.parameter_shapes(size, bias).items():
                    tensor = torch.empty(shape, device=device, dtype=dtype)
                    setattr(self, _name(name, layer, direction), nn.Parameter(tensor))
                for name, shape in cell.buffer_shapes(steps).items():
                    fill = 1.0 if name.startswith("running_var") else 0.0
                    self.register_buffer(
                        _name(name, layer, direction), torch.full(shape, fill, device=device, dtype=dtype)
                    )
        self.reset_parameters(generator)

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions in use."""
        return DIRECTIONS if self.bidirectional else DIRECTIONS[:1]

    @property
    def output_size(self) -> int:
        """Number of outputs a step, both directions together."""
        return self.hidden_size * len(self.directions)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the starting values anew."""
        for layer in range(self.num_layers):
            for direction in self.directions:
                names = self.cell.parameter_shapes(1, self.bias)
                tensors = {name: getattr(self, _name(name, layer, direction)) for name in names}
                self.init.fill(self.cell, tensors, generator, self.steps)

    def forward(self, input: Tensor, hx: Tensor | States | None = None, *, start: int = 0) -> tuple[Tensor, Any]:
        """Run the stack over a sequence.

        Args:
            input: (T, B, I), or (B, T, I) with `batch_first`, or (T, I) for a single sequence.
            hx: states before the first step, (num_layers * directions, B, H) each: one tensor for a cell with one
                state, a tuple for more; zeros if none.
            start: absolute time of the first step, for a sequence that is fed in pieces.

        Returns:
            The top layer's outputs, shaped like the input with D*H features, and the states after the last step,
            shaped like `hx`.

        Raises:
            UserError: if `input` does not fit the layer.
        """
        if not isinstance(input, Tensor):
            raise UserError(f"input is a {type(input).__name__}: pad the sequences and give a tensor")
        unbatched = input.dim() == 2
        x = input.unsqueeze(1) if unbatched else input.transpose(0, 1) if self.batch_first else input
        self._check(x, input)
        states = self._unpack_states(hx, x, unbatched)
        finals: list[States] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            pairs = [self._run(layer, d, x, states[len(finals) + i], start) for i, d in enumerate(self.directions)]
            output = torch.cat([y for y, _ in pairs], dim=-1) if self.bidirectional else pairs[0][0]
            finals += [final for _, final in pairs]
            x = x + output if self.residual_layers and layer else output
        packed: States = tuple(torch.stack(state) for state in zip(*finals, strict=True))
        if unbatched:
            x, packed = x.squeeze(1), tuple(state.squeeze(1) for state in packed)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, packed[0] if len(self.cell.states) == 1 else packed

    def _run(self, layer: int, direction: str, x: Tensor, states: States, start: int) -> tuple[Tensor, States]:
        """Run one direction of one layer, watched when somebody records."""
        cell, recorder = self.cell, self.recorder
        names = [*cell.parameter_shapes(1, self.bias), *cell.buffer_shapes(0)]
        w = Weights({name: getattr(self, _name(name, layer, direction)) for name in names}, self.training)
        watch = None
        if recorder is not None and torch.is_grad_enabled():
            watch = recorder.watcher(self, layer, direction, len(x), start)
            # Frozen weights alone would leave the states without a gradient to see.
            states = tuple(s if s.requires_grad else s.detach().requires_grad_() for s in states)
        if direction == "reverse":
            y, final = scan(cell, w, x.flip(0), states, start, watch)
            return y.flip(0), final
        return scan(cell, w, x, states, start, watch)

    def _check(self, x: Tensor, input: Tensor) -> None:
        if x.dim() != 3 or x.shape[-1] != self.input_size:
            raise UserError(
                f"input has shape {tuple(input.shape)}: expected 2 or 3 dimensions, the last of size "
                f"input_size = {self.input_size}"
            )
        if len(x) == 0:
            raise UserError("input has no time steps: give it at least one")

    def _unpack_states(self, hx: Tensor | States | None, x: Tensor, unbatched: bool) -> list[States]:
        """Split the stacked states into one tuple for each layer and direction."""
        count = self.num_layers * len(self.directions)
        if hx is None:
            return [self.cell.initial_states(x.shape[1], x)] * count
        stacked = hx if isinstance(hx, tuple) else (hx,)
        expected = (count, x.shape[1], self.hidden_size)
        stacked = tuple(state.unsqueeze(1) for state in stacked) if unbatched else stacked
        if len(stacked) != len(self.cell.states) or any(state.shape != expected for state in stacked):
            raise UserError(
                f"hx has shapes {[tuple(s.shape) for s in stacked]}: expected {len(self.cell.states)} states "
                f"({', '.join(self.cell.states)}) of shape {expected}"
            )
        return [tuple(state[i] for state in stacked) for i in range(count)]

    def extra_repr(self) -> str:
        return f"{self.cell!r}, input_size={self.input_size}, num_layers={self.num_layers}"


class RNN(Recurrent):
    """torch.nn.RNN, instrumented."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cell = make_cell("vanilla", hidden_size=hidden_size, activation=nonlinearity)
        super().__init__(
            cell,
            input_size,
            None,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class _Gated(Recurrent):
    """torch.nn's signature for cells whose non-linearities are fixed."""

    kind: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cell = make_cell(self.kind, hidden_size=hidden_size)
        super().__init__(
            cell, input_size, None, num_layers, bias, batch_first, dropout, bidirectional, device=device, dtype=dtype
        )


class LSTM(_Gated):
    """torch.nn.LSTM, instrumented."""

    kind: ClassVar[str] = "lstm"


class GRU(_Gated):
    """torch.nn.GRU, instrumented."""

    kind: ClassVar[str] = "gru"


def _name(tensor: str, layer: int, direction: str) -> str:
    """torch.nn's name of a tensor: `weight_ih_l0`, `weight_ih_l0_reverse`."""
    return f"{tensor}_l{layer}{'_reverse' if direction == 'reverse' else ''}"
