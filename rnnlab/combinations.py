"""Combinations of sections that make no sense together, each refused in one sentence."""

from typing import TYPE_CHECKING

from rnnlab.cells import CELLS
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.initialization import Initialization

if TYPE_CHECKING:
    from rnnlab.config import Config


def refuse_impossible(config: "Config") -> None:
    """Raise ValueError for the first impossible combination."""
    for check in (
        _check_truncation,
        _check_bidirectional,
        _check_chrono,
        _check_own_start,
        _check_input,
        _check_batch_norm,
        _check_segments,
    ):
        check(config)


def _check_truncation(config: "Config") -> None:
    truncation = config.training.truncation
    if truncation is None:
        return
    if config.task.answers == "decoder":
        raise ValueError(
            "training.truncation cuts a sequence into windows with losses of their own, and all losses of "
            f"{config.task.kind} are in the decoder: set it to null"
        )
    if truncation.window > config.task.steps:
        raise ValueError(
            f"training.truncation.window = {truncation.window} is longer than the sequence: choose at most "
            f"{config.task.steps}, the number of steps of {config.task.label}"
        )
    if config.model.bidirectional:
        raise ValueError(
            "training.truncation cannot be combined with model.bidirectional = true, because the backward "
            "direction has no past to carry: set one of them to null or false"
        )


def _check_bidirectional(config: "Config") -> None:
    if config.model.bidirectional and config.task.predicts_inputs:
        raise ValueError(
            f"model.bidirectional = true would read the answers of {config.task.kind}, which are later inputs: set it "
            "to false"
        )


def _check_chrono(config: "Config") -> None:
    cell = config.cell
    if config.init.bias != "chrono":
        return
    if next(iter(cell.time_gates), None) not in cell.gates:
        gated = [name for name, known in CELLS.items() if known.time_gates]
        detail = f" without {next(iter(cell.time_gates))} gate" if cell.time_gates else ""
        raise ValueError(
            f"init.bias = 'chrono' needs gates that set a time constant, which cell.kind = '{cell.kind}'{detail} "
            f"has not: choose a cell of {', '.join(gated)}, or init.bias = 'zero'"
        )
    if getattr(cell, "forget_bias", None) is not None:
        raise ValueError("cell.forget_bias and init.bias = 'chrono' both set the forget bias: drop one of them")


def _check_own_start(config: "Config") -> None:
    cell, init, default = config.cell, config.init, Initialization()
    reach = {"input": "weight_ih", "recurrent": "weight_hh", "recurrent_scale": "weight_hh", "bias": "bias_ih"}
    for field, weight in reach.items():
        value, usual = getattr(init, field), getattr(default, field)
        missing = weight not in cell.parameter_shapes(1)
        if value != usual and (missing or weight in cell.own_start):
            why = f"has no {weight}" if missing else f"prescribes how its {weight} starts"
            raise ValueError(
                f"init.{field} = {value!r} cannot apply, because cell.kind = '{cell.kind}' {why}: "
                f"leave init.{field} at {usual!r}, or choose another cell"
            )


def _check_input(config: "Config") -> None:
    if config.model.input in ("one_hot", "embedding") and not config.task.symbols:
        raise ValueError(
            f"model.input = '{config.model.input}' needs symbols, and {config.task.kind} gives numbers: "
            "choose 'raw' or 'auto'"
        )
    if config.model.input == "raw" and config.task.symbols:
        raise ValueError(
            f"model.input = 'raw' needs numbers, and {config.task.kind} gives symbols: choose 'one_hot' or 'embedding'"
        )


def _check_batch_norm(config: "Config") -> None:
    cell = config.cell
    if not isinstance(cell, NormalizedCell):
        return
    if cell.norm != "batch" and cell.norm_noise:
        raise ValueError(f"cell.norm_noise = {cell.norm_noise} is for cell.norm = 'batch': set it to 0")
    if cell.norm == "batch" and config.training.batch_size < 2:
        raise ValueError("cell.norm = 'batch' needs training.batch_size of at least 2 to have a variance: raise it")


def _check_segments(config: "Config") -> None:
    every, cell = config.model.checkpoint_every, config.cell
    if every is None:
        return
    if config.recording.probes != "light":
        raise ValueError(
            f"recording.probes = '{config.recording.probes}' needs every step, which model.checkpoint_every = "
            f"{every} does not keep: set it to null, or recording.probes to 'light'"
        )
    if cell.zoneout or getattr(cell, "norm", "none").startswith("batch"):
        raise ValueError(
            f"model.checkpoint_every = {every} takes steps again, which zoneout and batch norm do not allow: set it "
            "to null, or leave those out of the cell"
        )
