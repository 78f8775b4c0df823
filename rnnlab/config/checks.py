"""Combinations of options that cannot be, each refused in a sentence."""

from rnnlab.config.sections import Sections
from rnnlab.layers.initialization import Initialization, check_chrono
from rnnlab.remedies.truncation import Truncation
from rnnlab.scan.segments import check_segments


def refuse_impossible(config: Sections) -> None:
    """Raise ValueError for the first impossible combination."""
    for check in (
        _check_cell,
        _check_remedies,
        _check_bidirectional,
        _check_chrono,
        _check_own_start,
        _check_input,
        _check_batch_norm,
        _check_segments,
        _check_stream,
    ):
        check(config)


def _check_cell(config: Sections) -> None:
    if "h" not in config.cell.states:
        names = ", ".join(config.cell.states)
        raise ValueError(
            f"cell.kind = '{config.cell.kind}' has no state h, whose gradient a run is summed up by, but {names}: name "
            "the state that the layer above reads h"
        )


def _check_remedies(config: Sections) -> None:
    for remedy in config.remedies:
        if not remedy.acts:
            raise ValueError(f"remedies.{remedy.kind} does nothing: write prepare, cut, penalty or change in its class")
        remedy.check(config)
        if remedy.cuts:
            _check_cut(config, f"remedies.{remedy.kind}")
        if remedy.penalises:
            _check_penalty(config, f"remedies.{remedy.kind}")


def _check_cut(config: Sections, remedy: str) -> None:
    if config.task.answers == "decoder":
        raise ValueError(
            f"{remedy} cuts a sequence into windows with losses of their own, and all losses of {config.task.kind} "
            "are in the decoder: set it to null"
        )
    if config.model.bidirectional:
        raise ValueError(
            f"{remedy} cannot be combined with model.bidirectional = true, because the backward direction has no past "
            "to carry: set one of them to null or false"
        )


def _check_penalty(config: Sections, remedy: str) -> None:
    if config.model.checkpoint_every is not None:
        raise ValueError(
            f"{remedy} needs every step, which model.checkpoint_every = {config.model.checkpoint_every} does not keep: "
            "set one of them to null"
        )
    config.cell.check_repeatable(remedy)


def _check_bidirectional(config: Sections) -> None:
    if config.model.bidirectional and config.task.predicts_inputs:
        raise ValueError(
            f"model.bidirectional = true would read the answers of {config.task.kind}, which are later inputs: set it "
            "to false"
        )


def _check_chrono(config: Sections) -> None:
    check_chrono(config.init, config.cell, "cell.")


def _check_own_start(config: Sections) -> None:
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


def _check_input(config: Sections) -> None:
    if config.model.input in ("one_hot", "embedding") and not config.task.symbols:
        raise ValueError(
            f"model.input = '{config.model.input}' needs symbols, and {config.task.kind} gives numbers: "
            "choose 'raw' or 'auto'"
        )
    if config.model.input == "raw" and config.task.symbols:
        raise ValueError(
            f"model.input = 'raw' needs numbers, and {config.task.kind} gives symbols: choose 'one_hot' or 'embedding'"
        )


def _check_batch_norm(config: Sections) -> None:
    if config.cell.couples_examples and config.training.batch_size < 2:
        raise ValueError(
            "cell.norm = 'batch' or 'batch_sum' needs training.batch_size of at least 2 to have a variance: raise it"
        )


def _check_stream(config: Sections) -> None:
    if not config.training.stream:
        return
    truncation = config.remedy(Truncation)
    if truncation is None or truncation.stride not in (None, truncation.window):
        raise ValueError(
            "training.stream = true reads a sequence window by window: set remedies.truncation.window, and no stride"
        )
    if config.task.answers != "every":
        raise ValueError(
            f"training.stream = true needs an answer at every step, and {config.task.kind} gives none before the end: "
            "set it to false"
        )
    if config.recording.is_probed or config.cell.couples_examples:
        field = "cell.norm" if config.cell.couples_examples else "recording.probes"
        raise ValueError(f"training.stream = true cannot be combined with {field}: set one of them to its default")


def _check_segments(config: Sections) -> None:
    every = config.model.checkpoint_every
    check_segments(every, config.cell, "model.")
    if every is not None and config.recording.is_probed:
        raise ValueError(
            f"recording.probes = {config.recording.probes!r} needs every step, which model.checkpoint_every = "
            f"{every} does not keep: set it to null, or recording.probes to 'light'"
        )
