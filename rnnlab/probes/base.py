"""Probes: what can be measured from a trace, one quantity a file."""

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, cast, get_args

from rnnlab.common.errors import UserError, check_type, nearest
from rnnlab.common.registry import Registry

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

Preset = Literal["light", "standard", "full"]
PRESETS: tuple[Preset, ...] = get_args(Preset)


class Measure(Protocol):
    """Gives named arrays for one trace; further arguments have defaults."""

    __name__: str

    def __call__(self, trace: "Trace", /) -> "dict[str, xr.DataArray]": ...


M = TypeVar("M", bound=Measure)


class Probe(NamedTuple):
    """One quantity.

    Attributes:
        name: that of its function.
        preset: the smallest preset it belongs to; each includes those before it.
        cost: order of its time, in the letters T B H S, for the documentation.
        measure: gives named arrays for one trace; dims are `time`, `state`, `gate`, `example`, `lag` and the like.
    """

    name: str
    preset: Preset
    cost: str
    measure: Measure


PROBES: Registry[Probe] = Registry("probe", "rnnlab.probes")


def probe(preset: Preset, cost: str) -> Callable[[M], M]:
    """Make a function of a trace known as a probe; used as a decorator."""

    def known(measure: M) -> M:
        @functools.wraps(measure)
        def plainly(trace: "Trace", /, *args: Any, **options: Any) -> "dict[str, xr.DataArray]":
            from rnnlab.probes.trace import plain_arithmetic

            with plain_arithmetic(trace.x.device.type):
                return measure(trace, *args, **options)

        PROBES.add(measure.__name__, Probe(measure.__name__, preset, cost, plainly), measure)
        return cast(M, plainly)

    return known


def select(which: str | Iterable[str]) -> list[Probe]:
    """Find probes.

    Args:
        which: a preset, or names of probes.

    Raises:
        UserError: if a name is unknown.
    """
    if isinstance(which, str):
        if which in PROBES:
            raise UserError(f"{which!r} is a probe, not a preset: give a list of names, such as [{which!r}]")
        if which not in PRESETS:
            raise UserError(f"preset = {which!r} is unknown: {nearest(which, PRESETS)}")
        return [p for p in PROBES.values() if PRESETS.index(p.preset) <= PRESETS.index(which)]
    if not isinstance(which, Iterable):
        raise UserError(f"which = {which!r} is not allowed: give a preset ({', '.join(PRESETS)}), or names of probes")
    for name in (names := list(map(str, which))):
        if name not in PROBES:
            raise UserError(f"probe {name!r} is unknown: {nearest(name, PROBES)}")
    return [PROBES[name] for name in names]


def measure(traces: "Iterable[Trace]", which: str | Iterable[str] = "standard") -> "xr.Dataset":
    """Measure traces with probes.

    Args:
        traces: those of one model, from `rnnlab.trace`.
        which: a preset (light, standard or full), or names of probes.

    Returns:
        One dataset with dims layer, direction and those of each quantity; NaN where a layer has no such quantity or
        nothing was measured. Each call of a layer has its place along `layer`, told apart by the coordinate `call`.

    Raises:
        UserError: if a name is unknown, or there are no traces.
    """
    import xarray as xr

    from rnnlab.probes.trace import Trace

    if not isinstance(traces, Iterable):
        raise UserError(f"traces is a {type(traces).__name__}: give `tape.traces`, or a list of single ones")
    probes, parts, seen, traces = select(which), [], [], list(traces)
    for one in traces:
        check_type("one of traces", one, Trace)
    if not traces:
        raise UserError("traces is empty: give `tape.traces`, or a list of single ones")
    places = sorted({(trace.layer, trace.call) for trace in traces})
    for trace in traces:
        arrays = {name: array for p in probes for name, array in p.measure(trace).items()}
        place = places.index((trace.layer, trace.call))
        parts.append(xr.Dataset(arrays).expand_dims(layer=[place], direction=[trace.direction]))
        seen += [trace.cell.gates, *(c.values.tolist() for a in arrays.values() for c in a.coords.values() if c.ndim)]
    merged = cast(xr.Dataset, xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="override"))
    layers, calls = ([place[i] for place in places] for i in (0, 1))
    return merged.reindex(_in_order(merged, seen)).assign_coords(layer=layers, call=("layer", calls))


def _in_order(merged: "xr.Dataset", seen: Iterable[Iterable[object]]) -> dict[Hashable, list[object]]:
    """Labels in the order in which cells and probes give them, which the outer join has sorted."""
    order = list(dict.fromkeys(label for labels in seen for label in labels))
    named = {dim: merged[dim].values.tolist() for dim in merged.dims if merged[dim].dtype.kind not in "iuf"}
    return {dim: sorted(labels, key=order.index) for dim, labels in named.items() if dim != "direction"}
