"""Measure what it costs to watch gradients, by rnnlab and by others: `python -m benchmarks.beside [--write]`."""

import argparse
import copy
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

import rnnlab
from benchmarks.timing import processor, take_turns, write_measured

PAGE = Path(__file__).parent.parent / "docs" / "beside.md"
SIZES = ((100, 32, 64), (400, 16, 100))
"""T, B, H."""
Update = Callable[[], object]


class Last(nn.Module):
    """An LSTM of one layer whose last output is read."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(1, H), nn.Linear(H, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][-1])


class Cells(nn.Module):
    """The same as a loop of cells, which shows every state to `see`."""

    def __init__(self, H: int, see: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.rnn, self.out, self.see = nn.LSTMCell(1, H), nn.Linear(H, 1), see

    def forward(self, x: Tensor) -> Tensor:
        state = (x.new_zeros(x.shape[1], self.rnn.hidden_size),) * 2
        for x_t in x.unbind(0):
            state = self.rnn(x_t, state)
            self.see(state[0])
            self.see(state[1])
        return self.out(state[0])


def update(model: nn.Module, x: Tensor, after: Update = lambda: None) -> Update:
    """One update by plain gradient descent, and what is to be done after it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        after()

    return run


@contextmanager
def contestants(T: int, B: int, H: int) -> Iterator[dict[str, Update]]:
    """Everybody who is compared, each with a model of its own: each looks at every update."""
    torch.manual_seed(0)
    x, plain = torch.randn(T, B, 1), Last(H)
    ours, watched, cockpit = (copy.deepcopy(plain) for _ in range(3))
    twin = rnnlab.convert(copy.deepcopy(plain))
    rnnlab.convert(ours)
    with ExitStack() as stack:
        log = stack.enter_context(rnnlab.record(ours))
        found = {
            "`nn.LSTM`, nobody looks": update(plain, x),
            "rnnlab, nobody looks": update(twin, x),
            "`rnnlab.record`": update(ours, x, lambda: log.steps.clear()),
            **stack.enter_context(by_wandb(watched, x)),
            **by_cockpit(cockpit, x),
            "loop of cells, nobody looks": update(Cells(H, lambda state: None), x),
            "loop of cells, `retain_grad`": kept_gradients(H, x),
            "loop of cells, hooks": hooked(H, x),
        }
        yield found


def kept_gradients(H: int, x: Tensor) -> Update:
    """A loop of cells that keeps every gradient, and takes norms afterwards."""
    states: list[Tensor] = []

    def keep(state: Tensor) -> None:
        state.retain_grad()
        states.append(state)

    def sum_up() -> None:
        for state in states:
            if state.grad is not None:
                torch.linalg.vector_norm(state.grad, dim=-1)
        states.clear()

    return update(Cells(H, keep), x, sum_up)


def hooked(H: int, x: Tensor) -> Update:
    """A loop of cells whose hooks keep norms alone."""
    norms: list[Tensor] = []

    def take(gradient: Tensor) -> None:
        norms.append(torch.linalg.vector_norm(gradient, dim=-1))

    return update(Cells(H, lambda state: state.register_hook(take)), x, norms.clear)


@contextmanager
def by_wandb(model: nn.Module, x: Tensor) -> Iterator[dict[str, Update]]:
    """`wandb.watch` at every update of an offline run."""
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        quiet = wandb.Settings(silent=True, console="off", x_disable_meta=True, x_disable_stats=True)
        with wandb.init(mode="offline", dir=folder, settings=quiet) as run:
            run.watch(model, log="gradients", log_freq=1)
            yield {"`wandb.watch`": update(model, x, lambda: run.log({}))}
        wandb.teardown()


def by_cockpit(model: nn.Module, x: Tensor) -> dict[str, Update]:
    """Cockpit's norm of every parameter's gradient at every update, where cockpit can be imported."""
    try:
        from backpack import extend  # type: ignore[import-not-found]
        from cockpit import Cockpit  # type: ignore[import-not-found]
        from cockpit.quantities import GradNorm  # type: ignore[import-not-found]
        from cockpit.utils.schedules import linear  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        print(f"cockpit is left out: {error}")
        return {}
    extend(model)
    squared, single = extend(nn.MSELoss()), extend(nn.MSELoss(reduction="none"))
    watch = Cockpit(model.parameters(), quantities=[GradNorm(linear(1))])
    optimizer, target = torch.optim.SGD(model.parameters(), lr=1e-3), torch.zeros(x.shape[1], 1)
    steps = itertools.count()

    def run() -> None:
        step = next(steps)
        optimizer.zero_grad()
        answers = model(x)
        loss, losses = squared(answers, target), single(answers, target)
        info = {"batch_size": x.shape[1], "individual_losses": losses, "loss": loss, "optimizer": optimizer}
        with watch(step, info=info):
            loss.backward(create_graph=watch.create_graph(step))
        optimizer.step()

    return {"cockpit, `GradNorm`": run}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} too")
    parser.add_argument("--seconds", type=float, default=60.0, help="to spend on each case, about")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # else small gradients alone would make torch's layers several times slower
    columns = {}
    for T, B, H in SIZES:
        with contestants(T, B, H) as runs:
            columns[f"T={T} B={B} H={H}"] = take_turns(runs, chosen.seconds)
    (first, *_), names = columns.values(), list(next(iter(columns.values())))
    heads = [head for case in columns for head in (f"{case}, ms", "of `nn.LSTM`")]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name in names:
        cells = [
            cell
            for timings in columns.values()
            for cell in (f"{timings[name].median * 1e3:.1f}", f"{timings[name].median / timings[names[0]].median:.2f}")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rounds = len(first[names[0]].seconds)
    said = (
        f"{processor()}, one thread, subnormal numbers flushed, torch {torch.__version__}; "
        f"medians of {rounds} rounds or more, in turns."
    )
    table = "\n".join([said, "", *lines])
    print(table)
    if chosen.write:
        write_measured(PAGE, table, "measured")


if __name__ == "__main__":
    main()
