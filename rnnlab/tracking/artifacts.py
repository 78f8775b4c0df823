"""The files that a run leaves behind, and the figures that are drawn of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlab.gradients.netcdf import encode_arrays
from rnnlab.training.result import Result

if TYPE_CHECKING:
    import xarray as xr

PROFILE = "profile.nc"
PROBES = "probes.nc"
COLORS = -12, 0
"""Limits of the colours of heat maps, log10: the same in every run, so that runs can be held against each other."""


def artifacts(result: Result) -> dict[str, bytes]:
    """Contents of the files that a run leaves behind, by name.

    Args:
        result: what the run returned.

    Returns:
        config.json; if probes ran, probes.nc; and if gradients were recorded, profile.nc.
    """
    config = json.dumps(result.config.model_dump(mode="json"), indent=2)
    contents = {"config.json": f"{config}\n".encode()}
    if result.probes is not None:
        contents[PROBES] = encode_arrays(result.probes)
    if result.profile is not None and result.profile.sizes["step"]:
        contents[PROFILE] = encode_arrays(result.profile)
    return contents


def draw_figures(profile: "xr.Dataset", folder: Path) -> None:
    """Draw what the dashboard is to show of a run.

    Not for the process that trains: the figures of a run take longer to draw than a short run to train.

    Args:
        profile: gradient profile of the run, with at least one recorded step.
        folder: gets figures/heatmap.png and figures/lag.png.
    """
    from rnnlab import plots  # late: seaborn takes a second to import, and only recorded runs need it

    (folder / "figures").mkdir()
    low, high = COLORS
    drawn = {"heatmap": plots.heatmap(profile, vmin=low, vmax=high), "lag": plots.lag_plot(profile)}
    for name, ax in drawn.items():
        plots.save(ax, folder / "figures" / f"{name}.png")
