"""Which experiments may train together: those that differ in numbers which change no structure."""

from collections.abc import Sequence
from typing import Any, Literal

from rnnlab.config.config import Config
from rnnlab.config.shape import shape
from rnnlab.remedies import Remedy, Window, register

BASE: dict[str, Any] = {
    "task": {"kind": "adding", "length": 9},
    "cell": {"kind": "vanilla", "hidden_size": 7},
}


def test_shapes_tell_what_differs() -> None:
    plain = Config.parse(BASE)
    alike = [
        {"seed": 3},
        {"optimizer": {"lr": 0.5, "schedule": "linear"}},
        {"init": {"recurrent": "orthogonal"}},
        {"remedies": {"clipping": {}}},  # acts on the gradient of each run's own
    ]
    unlike = [
        {"cell": {"kind": "vanilla", "hidden_size": 8}},
        {"optimizer": {"kind": "sgd"}},
        {"remedies": {"truncation": {"window": 5}}},
        {"task": {"kind": "adding", "length": 8}},
        {"dtype": "float64"},
    ]
    assert all(shape(Config.parse({**BASE, **change})) == shape(plain) for change in alike)
    assert len({shape(Config.parse({**BASE, **change})) for change in unlike} | {shape(plain)}) == 6


def test_a_number_that_changes_what_is_done_is_part_of_the_shape() -> None:
    cells = [{"kind": "lstm", "hidden_size": 6, "norm": "batch", "norm_noise": noise} for noise in (0.0, 0.1, 0.3)]
    one, two, three = (shape(Config.parse({**BASE, "cell": cell})) for cell in cells)
    assert one != two == three


def test_a_remedy_that_cuts_by_a_fraction_is_alike_in_it(plugged: None) -> None:
    @register
    class Fraction(Remedy):
        kind: Literal["fraction"] = "fraction"
        share: float = 0.5

        def cut(self, windows: Sequence[Window]) -> Sequence[Window]:
            start = int(self.share * windows[-1].stop)
            return [Window(start, windows[0].loss_start, windows[-1].stop)]

    shapes = {shape(Config.parse({**BASE, "remedies": {"fraction": {"share": share}}})) for share in (0.2, 0.7)}
    assert len(shapes) == 2
