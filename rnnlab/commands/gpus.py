"""What `rnnlab doctor` says of each GPU: its name, and how fast it takes a layer."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

T, B, H = 100, 64, 128
ROUNDS = 5


def describe(number: int) -> str:
    """One clause about a GPU, which is tried.

    Raises:
        RuntimeError: if it cannot do what torch asks of it.
    """
    import torch

    plain, recorded = speed(torch.device("cuda", number))
    return (
        f"{torch.cuda.get_device_name(number)}: an LSTM of {H} units takes {T} steps of {B} sequences there and back "
        f"in {plain * 1e3:.2f} ms, recorded in {recorded * 1e3:.2f} ms"
    )


def speed(device: "torch.device") -> tuple[float, float]:
    """Seconds of one pass through a layer and back, the fastest of a few: as it is, and recorded."""
    import torch

    from rnnlab.gradients.record import record
    from rnnlab.layers.dropin import LSTM

    net, x = LSTM(H, H, device=device), torch.randn(T, B, H, device=device)

    def seconds() -> float:
        began = time.perf_counter()
        loss = net(x)[0].sum()
        loss.backward()
        if x.is_cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    plain = min(seconds() for _ in range(ROUNDS))
    with record(net):
        recorded = min(seconds() for _ in range(ROUNDS))
    return plain, recorded
