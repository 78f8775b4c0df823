"""Print the speed of layers on a GPU, with all norms, against cuDNN: `python -m benchmarks.gpu [--write]`."""

import argparse
import copy
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import rnnlab
from benchmarks.contestants import Case
from benchmarks.timing import Timing, take_turns
from rnnlab.cells import Cell, make_cell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.common.precision import whole_float32
from rnnlab.gradients.recorder import Recorder
from rnnlab.layers.recurrent import Recurrent

PAGE = Path(__file__).parent.parent / "docs" / "performance-gpu.md"
FUSED = {
    **{Case(kind, 784, 64, 128, 128): 1.25 for kind in ("LSTM", "GRU", "RNN")},
    Case("LSTM", 1000, 128, 256, 256): 1.3,
}
"""What cuDNN runs too, and the goal of a recorded pass against its own."""
UNRECORDED = 1.01
STEPWISE = (
    make_cell("lem", hidden_size=128),
    make_cell("cornn", hidden_size=128),
    LSTMCell(hidden_size=128, norm="batch"),
)
HEAD = "| case | cuDNN, ms | recorded, ms | of cuDNN | not recorded, ms | of cuDNN |\n|---|---|---|---|---|---|\n"


def once(net: torch.nn.Module, x: torch.Tensor, recorder: Recorder | None = None) -> None:
    """One pass there and back, waited for."""
    if recorder is None:
        net(x)[0][-1].sum().backward()
    else:
        with recorder.attached(net):
            net(x)[0][-1].sum().backward()
        recorder.steps.clear()
    if x.is_cuda:
        torch.cuda.synchronize()


def contestants(case: Case, device: torch.device) -> dict[str, Callable[[], None]]:
    """torch's layer and ours, recorded and not, on the same weights and inputs."""
    torch.manual_seed(0)
    plain = getattr(torch.nn, case.kind)(case.I, case.H, device=device)
    ours, x = rnnlab.convert(copy.deepcopy(plain)), torch.randn(case.T, case.B, case.I, device=device)
    recorder = Recorder()
    return {
        "plain": lambda: once(plain, x),
        "recorded": lambda: once(ours, x, recorder),
        "silent": lambda: once(ours, x),
    }


def row(case: Case, goal: float, timings: dict[str, Timing]) -> str:
    """One line of the table."""
    plain, recorded, silent = (timings[name].median for name in ("plain", "recorded", "silent"))
    cells = [str(case), f"{plain * 1e3:.2f}", f"{recorded * 1e3:.2f}", f"**{recorded / plain:.2f}** (≤ {goal})"]
    return f"| {' | '.join([*cells, f'{silent * 1e3:.2f}', f'{silent / plain:.3f} (≤ {UNRECORDED})'])} |"


def by_reference(cell: Cell, device: torch.device, budget: float) -> str:
    """One line on a cell that only the reference scan takes there."""
    T, B, H = 200, 64, cell.hidden_size
    net, x = Recurrent(cell, H, device=device), torch.randn(T, B, H, device=device)
    timing = take_turns({"recorded": lambda: once(net, x, Recorder())}, budget)["recorded"]
    norm = f" norm={cell.norm}" if isinstance(cell, LSTMCell) else ""
    return f"| {cell.kind}{norm} T={T} B={B} H={H} | {timing.median * 1e3:.1f} |"


def tables(device: torch.device, budget: float) -> str:
    """Everything that is measured, as Markdown.

    Args:
        device: a GPU; tests may have a CPU.
        budget: seconds for each case, about.
    """
    with whole_float32():  # of both, so that they do the same
        rows = [row(case, goal, take_turns(contestants(case, device), budget)) for case, goal in FUSED.items()]
    others = [by_reference(cell, device, budget) for cell in STEPWISE]
    slow = "\n\nCells that torch does not fuse, by the reference scan, recorded:\n\n| case | ms |\n|---|---|\n"
    return HEAD + "\n".join(rows) + slow + "\n".join(others)


def main(arguments: list[str]) -> int:
    """Measure, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for each case")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(f"error: torch {torch.__version__} finds no GPU to measure", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    machine = f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {platform.python_version()}."
    text = f"{machine} Medians of one pass there and back, in whole float32; goals in brackets.\n\n"
    text += tables(device, options.budget)
    print(text)
    if options.write:
        notes = PAGE.read_text().partition("\n## ")
        PAGE.write_text(
            f"# Performance on a GPU\n\nMade by `make bench-gpu`.\n\n{text}\n\n{notes[1].lstrip()}{notes[2]}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
