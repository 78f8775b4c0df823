"""Pictures of the slider: what is written on them agrees with the arrays that they show."""

import numpy as np
import pytest
import xarray as xr
from PIL.ImageDraw import ImageDraw

from rnnlab.gradients.profile import DIMS
from rnnlab.tracking.slider_images import picture


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn from here on."""
    texts: list[str] = []
    draw = ImageDraw.text

    def listen(self: ImageDraw, xy: tuple[float, float], text: str, *rest: object, **more: object) -> None:
        texts.append(text)
        draw(self, xy, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw, "text", listen)
    return texts


def test_time_steps_are_counted_as_the_profile_counts_them(written):
    coords = {"layer": [0], "direction": ["forward"], "state": ["h"], "time": np.arange(30)}
    norms = xr.DataArray(np.zeros((2, 1, 1, 1, 30)), coords, (*DIMS, "time"))
    profile = xr.Dataset({"log10_grad_norm": norms, "zero_fraction": norms}).assign_coords(train_step=("step", [0, 7]))
    picture(profile, 1)
    assert written[-2:] == ["time step 0", "29"] and "Gradient at training step 7" in written
