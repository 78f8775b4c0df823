"""The gradient profile as pictures along training, for the dashboard's slider over steps.

Drawn from the array itself: a picture takes milliseconds, where a figure of matplotlib takes a good part of a second.
"""

import re
from functools import cache

import numpy as np
import xarray as xr
from matplotlib import colormaps
from mlflow import MlflowClient
from PIL import Image, ImageDraw, ImageFont

from rnnlab.tracking.views import PROFILE_IMAGES
from rnnlab.training.result import summarised

FRAMES = 4
"""Pictures a run, from the first recorded training step to the last: each is two files and a tag to MLflow."""
LOW, HIGH = -10, 2
"""Decades shown, the same in every picture, so that runs can be held against each other."""
SIZE, FONT = (480, 400), 19  # pixels; MLflow shows pictures at about half of this until they are clicked
LEFT, RIGHT = 58, 470
BARS, MAP = (62, 226), (262, 366)  # top and bottom
INK, FAINT, EMPTY = (34, 34, 34), (200, 200, 200), (238, 238, 238)


def log_profile_images(client: MlflowClient, run_id: str, profile: xr.Dataset) -> None:
    """Log pictures of a profile at a few training steps, unless they are there already.

    Args:
        client: of the store.
        run_id: MLflow's id of the run.
        profile: gradient profile of the run, with at least one recorded step.
    """
    # A run may be finished twice, and MLflow would keep both pictures of a step.
    names = " ".join(file.path for file in client.list_artifacts(run_id, "images"))
    there = {int(step) for step in re.findall(r"\+step\+(\d+)\+", names)}
    S = profile.sizes["step"]
    for row in np.unique(np.linspace(0, S - 1, min(S, FRAMES)).round().astype(int)):
        step = int(profile["train_step"].values[row])
        if step not in there:
            client.log_image(run_id, picture(profile, int(row)), key=PROFILE_IMAGES, step=step, synchronous=True)


def picture(profile: xr.Dataset, row: int) -> Image.Image:
    """Draw the profile of the hidden state at the top of the network at one recorded step, and below it all so far.

    Every norm is shown against that of the last measured time step, in decades: 0 is where the loss is, -3 means that a
    thousandth of the gradient arrives. Grey was not measured or is exactly zero.

    Args:
        profile: gradient profile of one run.
        row: index of the recorded step.
    """
    hidden = summarised(profile)["log10_grad_norm"]
    relative = _relative(hidden.values)  # (S, T)
    image = Image.new("RGB", SIZE, "white")
    image.paste(_bars(relative[row]), (LEFT, BARS[0]))
    image.paste(_map(np.where(np.arange(len(relative))[:, None] <= row, relative, np.nan)), (LEFT, MAP[0]))
    _letter(image, int(profile["train_step"].values[row]), profile["time"].values)
    return image


def _relative(norms: np.ndarray) -> np.ndarray:
    """Decades above the last measured time step of the same row; NaN where nothing was measured, or zero."""
    norms = np.where(np.isfinite(norms), norms, np.nan)
    measured = np.isfinite(norms)
    last = norms.shape[1] - 1 - measured[:, ::-1].argmax(1)
    return norms - norms[np.arange(len(norms)), last][:, None]


def _colors(decades: np.ndarray) -> np.ndarray:
    """RGB bytes on a scale from `LOW` to 0; what is not a number is grey."""
    share = np.clip((decades - LOW) / -LOW, 0, 1)
    rgb = colormaps["viridis"](np.nan_to_num(share))[..., :3]
    return np.where(np.isnan(decades)[..., None], EMPTY, 255 * rgb).astype(np.uint8)


def _bars(decades: np.ndarray) -> Image.Image:
    """A column for every time step, as high as what is left of the gradient."""
    width, height = RIGHT - LEFT, BARS[1] - BARS[0]
    columns = decades[np.arange(width) * len(decades) // width]
    level = HIGH - (np.arange(height) + 0.5) / height * (HIGH - LOW)  # decades of every row of pixels
    filled = level[:, None] <= columns
    pixels = np.where(filled[..., None], _colors(columns)[None], np.uint8(255))
    pixels[:, np.isnan(columns)] = EMPTY
    return Image.fromarray(pixels)


def _map(decades: np.ndarray) -> Image.Image:
    """A row for every recorded step, the first one lowest."""
    return Image.fromarray(_colors(decades[::-1])).resize((RIGHT - LEFT, MAP[1] - MAP[0]), Image.Resampling.NEAREST)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _letter(image: Image.Image, step: int, time: np.ndarray) -> None:
    """Say what is seen, and write the axes."""
    pen = ImageDraw.Draw(image)
    font, small = _font(FONT), _font(FONT - 4)
    pen.text((10, 6), f"Gradient at training step {step:,}", INK, font)
    pen.text((10, 32), "decades against the last time step", INK, small)
    for decade in range(LOW, HIGH + 1, 2):
        y = BARS[0] + (HIGH - decade) / (HIGH - LOW) * (BARS[1] - BARS[0])
        pen.line((LEFT - 5, y, RIGHT if decade == 0 else LEFT, y), FAINT)
        pen.text((LEFT - 9, y), f"{decade:+d}" if decade else "0", INK, small, anchor="rm")
    for top, bottom in (BARS, MAP):
        pen.rectangle((LEFT, top, RIGHT, bottom), outline=FAINT)
    pen.text((LEFT, MAP[0] - 5), "training so far, upwards", INK, small, anchor="ls")
    pen.text((LEFT, MAP[1] + 6), f"time step {time[0]}", INK, font)
    pen.text((RIGHT, MAP[1] + 6), str(time[-1]), INK, font, anchor="ra")
