"""What one step of a cell sees of its layer: weights, the phase it is in, and an ear for what goes on inside."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.common.errors import UserError


class Note(NamedTuple):
    """One elementwise non-linearity as a step applied it.

    Attributes:
        before: (B, H) pre-activations z.
        after: (B, H) values φ(z).
    """

    before: Tensor
    after: Tensor


class Weights:
    """The tensors of one layer as its cell reads them, `w.weight_hh`, and the circumstances of the step.

    Args:
        tensors: every weight and buffer of the layer, by name; `get` reads one that may be absent.
        training: whether the layer is being trained.
        sizes: how many examples are still active at each step, longest first; none when all have the same length.
        generator: source of noise inside the step; torch's global one if none.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        training: bool,
        sizes: list[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.tensors = dict(tensors)
        self.training, self.sizes, self.generator = training, sizes, generator
        self.drawn: list[Tensor] | None = None
        self.replayed: list[Tensor] = []
        self.gates: dict[str, Note] | None = None
        self.activations: dict[str, Note] | None = None

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["tensors"][name]
        except KeyError:
            raise AttributeError(f"this layer has no weight '{name}'") from None

    def get(self, name: str) -> Tensor | None:
        """A tensor that a layer may have or not, such as a bias."""
        return self.tensors.get(name)

    def at_step(self, name: str, t: int) -> Tensor:
        """What a tensor with a row for every time step holds at one; steps beyond its last row share that."""
        rows = self.tensors[name]
        return rows[min(t, len(rows) - 1)]

    def gate(self, name: str, z: Tensor) -> Tensor:
        """σ(z), seen by the probes as a gate of this name; z is (B, H)."""
        _refuse_unbatched(name, z)
        value = torch.sigmoid(z)
        if self.gates is not None:
            self.gates[name] = Note(z, value)
        return value

    def activate(self, name: str, z: Tensor, function: Callable[[Tensor], Tensor] = torch.tanh) -> Tensor:
        """φ(z), seen by the probes as an activation of this name; z is (B, H)."""
        _refuse_unbatched(name, z)
        value = function(z)
        if self.activations is not None:
            self.activations[name] = Note(z, value)
        return value

    def uniform(self, like: Tensor) -> Tensor:
        """Noise between 0 and 1, shaped like a state; a step that is replayed gets what it drew the first time."""
        if self.replayed:
            return self.replayed.pop(0)
        source = like.device if self.generator is None else self.generator.device
        noise = torch.rand(like.shape, generator=self.generator, dtype=like.dtype, device=source).to(like.device)
        if self.drawn is not None:
            self.drawn.append(noise)
        return noise


class MemberWeights(Weights):
    """The weights of P layers of one shape: every tensor has a dimension P before its own.

    Args:
        tensors: as of `Weights`, (P, ...) each.
        training: whether the layers are being trained.
        sizes: as of `Weights`, the same for all members.
        generators: each member's source of noise; torch's global one for all if empty.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        training: bool,
        sizes: list[int] | None = None,
        generators: Sequence[torch.Generator | None] = (),
    ) -> None:
        super().__init__(tensors, training, sizes)
        self.generators = tuple(generators)

    def generator_of(self, member: int) -> torch.Generator | None:
        """One member's source of noise."""
        return self.generators[member] if self.generators else None


def _refuse_unbatched(name: str, z: Tensor) -> None:
    if z.dim() != 2:
        raise UserError(
            f"'{name}' has pre-activations of shape {tuple(z.shape)}, where probes need (B, H): expand them"
        )
