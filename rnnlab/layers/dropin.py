"""torch.nn's recurrent layers, instrumented: torch's own classes, run by a scan."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from rnnlab.cells import Cell, States, make_cell
from rnnlab.common.errors import UserError
from rnnlab.layers.checks import is_autocast
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan.observer import Observers


class Instrumented(Recurrent):
    """What turns a torch.nn layer into an instrumented one.

    Tensors, attributes, checks of the constructor and starting values stay torch's; the scan only reads them. All
    that an instance has on top is `observers`, so a layer changes into its twin and back with its class.
    """

    num_layers: int
    original: ClassVar[type[nn.RNNBase]]
    """torch's class."""

    def __init__(self) -> None:
        super(Recurrent, self).__init__()  # torch's constructor, which calls this one, makes the tensors
        self.observers = Observers()

    @property
    def cell(self) -> Cell:  # type: ignore[override]
        """The equations."""
        raise NotImplementedError

    @property
    def dilation(self) -> tuple[int, ...]:  # type: ignore[override]
        """Every step reads the state before it."""
        return (1,) * self.num_layers

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | States | None = None,
        *,
        start: int = 0,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """As `Recurrent.forward`; to tools that write down what a model does it is torch's layer, as a unit."""
        if isinstance(input, fx.Proxy):
            tracer: Any = input.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(self), (input, hx), {})
        written_down = torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if written_down and not self.observers and start == 0 and lengths is None:
            return self.original.forward(self, input, hx)
        return Recurrent.forward(self, input, hx, start=start, lengths=lengths)

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by `torch.jit.script`, which understands torch's own layers alone."""
        raise UserError(
            f"torch.jit.script cannot take rnnlab.{self.original.__name__}: call rnnlab.restore(model) first, and "
            "rnnlab.convert(model) afterwards to go on"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            name == "qconfig"
        ):  # which torch's quantisers give to every module before they look for layers that they know
            kind = self.original.__name__
            warnings.warn(
                f"torch.ao.quantization knows torch.nn.{kind} alone and leaves rnnlab.{kind} in floating point: call "
                "rnnlab.restore(model) first to have it quantised",
                stacklevel=3,
            )
        super().__setattr__(name, value)

    def _run_stack(
        self, x: Tensor, hx: States | None, start: int, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, States]:
        device = x.device.type
        if is_autocast(device) and x.dtype != torch.float64 and self._is_fused(device, lengths is not None):
            dtype = torch.get_autocast_dtype(device)
            x, hx = x.to(dtype), None if hx is None else tuple(state.to(dtype) for state in hx)
        return super()._run_stack(x, hx, start, lengths)

    def _is_fused(self, device: str, padded: bool) -> bool:
        """Whether torch runs this in one kernel, which under autocast keeps the states in the low precision too."""
        del padded
        return device == "cuda"


class RNN(nn.RNN, Instrumented):  # type: ignore[misc]
    """torch.nn.RNN, instrumented: see there for arguments, shapes and parameters.

    Example:
        >>> import rnnlab, torch
        >>> net = rnnlab.RNN(2, 8)
        >>> with rnnlab.record(net) as log:
        ...     net(torch.randn(20, 4, 2))[0][-1].sum().backward()
        >>> dict(log.dataset().sizes)["time"]
        20
    """

    original, forward = nn.RNN, Instrumented.forward  # type: ignore[assignment]

    @property
    def cell(self) -> Cell:
        """The vanilla cell with the layer's non-linearity."""
        return _cell("vanilla", hidden_size=self.hidden_size, activation=self.nonlinearity)


class LSTM(nn.LSTM, Instrumented):  # type: ignore[misc]
    """torch.nn.LSTM, instrumented: see there for arguments, shapes and parameters; `rnnlab.RNN` for an example."""

    original, forward = nn.LSTM, Instrumented.forward  # type: ignore[assignment]

    @property
    def cell(self) -> Cell:
        """The LSTM cell with the layer's projection."""
        return _cell("lstm", hidden_size=self.hidden_size, proj_size=self.proj_size)

    def _is_fused(self, device: str, padded: bool) -> bool:
        return device == "cuda" or not (padded or self.proj_size)


class GRU(nn.GRU, Instrumented):  # type: ignore[misc]
    """torch.nn.GRU, instrumented: see there for arguments, shapes and parameters; `rnnlab.RNN` for an example."""

    original, forward = nn.GRU, Instrumented.forward  # type: ignore[assignment]

    @property
    def cell(self) -> Cell:
        """The GRU cell."""
        return _cell("gru", hidden_size=self.hidden_size)


@cache
def _cell(kind: str, **options: Any) -> Cell:
    return make_cell(kind, **options)
