"""Profiles to TensorBoard: scalars, and an image that is drawn anew at every step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image


def send(writer: Any, numbers: Mapping[str, float], picture: Image.Image, step: int) -> None:
    """Write them with torch's `SummaryWriter`."""
    for name, value in numbers.items():
        writer.add_scalar(name, value, step)
    writer.add_image("grad/lag", np.asarray(picture), step, dataformats="HWC")
