"""Of which layers nothing can be seen, and why: none is left out without a word."""

import warnings
from collections.abc import Collection, Iterable

NOT_CALLED, NO_GRAD, FROZEN, NO_BACKWARD = range(4)
WHY = (
    "it was not called inside the block",
    "it ran under torch.no_grad or inference_mode alone, where no gradient comes back: take the pass outside of them",
    "it reads nothing that requires grad, so that no gradient comes back through it: call requires_grad_() on its "
    "input, or on weights of it, to see it",
    "no backward pass came back through it: call backward() on a loss that follows from its outputs",
)


class Silence:
    """Knows of which modules nothing has come back yet, and says why, once for each.

    Args:
        names: of the modules.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._why = dict.fromkeys(names, NOT_CALLED)

    def note(self, name: str, why: int) -> None:
        """Take note of a call; what is nearest to a gradient counts."""
        if name in self._why:
            self._why[name] = max(self._why[name], why)

    def end(self, names: Iterable[str]) -> None:
        """Something has come back."""
        for name in names:
            self._why.pop(name, None)

    def explain(self, reasons: Collection[int], stacklevel: int) -> None:
        """Warn of the modules that are silent for one of these reasons.

        Args:
            reasons: to be told.
            stacklevel: calls between this one and the user's line, and one more.
        """
        told = {name: why for name, why in self._why.items() if why in reasons}
        self.end(told)
        for why in sorted(set(told.values())):
            names = " and ".join(name or "the model" for name in told if told[name] == why)
            warnings.warn(f"nothing of {names} is recorded, because {WHY[why]}", stacklevel=stacklevel + 1)
