"""The gallery shows every figure that there is, on the page that its code writes, in pictures of modest size."""

from pathlib import Path

from experiments.gallery.__main__ import code, page
from experiments.gallery.figures import FIGURES
from rnnlab import plots

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
LARGEST = 150_000  # bytes


def test_every_figure_has_its_place():
    drawn = " ".join(code(draw) for draw in FIGURES)
    assert [name for name in plots.__all__ if f"plots.{name}(" not in drawn] == ["save"]


def test_the_page_is_the_one_that_the_code_writes():
    assert (GALLERY / "README.md").read_text(encoding="utf-8") == page(), "run `make figures`"


def test_every_picture_is_there_and_small():
    sizes = {path.stem: path.stat().st_size for path in GALLERY.glob("*.png")}
    assert set(sizes) == {draw.__name__ for draw in FIGURES} and max(sizes.values()) < LARGEST
