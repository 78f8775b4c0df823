"""Over seeds: mean and interval by Student's t, and lines of theory with the slopes they predict."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from drawn import S, T, legend, lines, profile, xs, ys
from matplotlib.collections import FillBetweenPolyCollection
from scipy import stats

from rnnlab import plots
from rnnlab.theory import Prediction


def predicted(name: str, slope: float) -> Prediction:
    return Prediction(name, slope, "estimate", "none", "nobody")


def seeds(rates: Sequence[float]):
    return [profile(rate) for rate in rates]


def test_mean_interval_and_slope_are_those_over_seeds():
    rates = [-0.04, -0.05, -0.09]
    ax = plots.lag_over_seeds(seeds(rates), step=2)
    (line,) = ax.lines
    norms = np.array([data["log10_grad_norm_by_lag"].values.reshape(S, T)[2] for data in seeds(rates)])
    np.testing.assert_allclose(ys(line), norms.mean(0))
    low, high = stats.t.interval(0.95, 2, loc=norms[:, -1].mean(), scale=stats.sem(norms[:, -1]))
    (band,) = (band for band in ax.collections if isinstance(band, FillBetweenPolyCollection))
    edge = np.concatenate([path.vertices for path in band.get_paths()])
    at_first = edge[edge[:, 0] == T - 1, 1]  # the largest lag
    assert (at_first.min(), at_first.max()) == pytest.approx((low, high))
    text = legend(ax)[0].replace("−", "-")
    slope, half = (
        text.removeprefix("measured, mean of 3 seeds: ").removesuffix(" decades/step, R² 1.00 or more").split(" ± ")
    )
    bounds = stats.t.interval(0.95, 2, loc=np.mean(rates), scale=stats.sem(rates))
    assert float(slope) == pytest.approx(np.mean(rates), abs=1e-4)
    assert float(half) == pytest.approx((bounds[1] - bounds[0]) / 2, abs=1e-4)


def test_theory_starts_at_the_measured_norm_and_has_its_slope():
    theory = [predicted("mean field", -0.05), predicted("norm bound", 0.02)]
    ax = plots.lag_over_seeds(seeds([-0.04, -0.06]), theory)
    for prediction in theory:
        (line,) = (line for label, line in lines(ax).items() if label.startswith(prediction.name))
        assert xs(line) == [0, T - 1] and ys(line)[0] == pytest.approx(0)
        assert (ys(line)[1] - ys(line)[0]) / (T - 1) == pytest.approx(prediction.slope)
        assert f"{prediction.name} (estimate): {prediction.slope:+.4f}".replace("-", "−") in " ".join(legend(ax))


def test_a_steep_prediction_does_not_squeeze_what_was_measured():
    measured, beside = (plots.lag_over_seeds(seeds([-0.05, -0.06]), t) for t in ([], [predicted("bound", 9.0)]))
    assert beside.get_ylim() == measured.get_ylim()


@pytest.mark.filterwarnings("error")
def test_one_seed_has_no_interval_and_theory_without_a_number_no_line():
    ax = plots.lag_over_seeds(seeds([-0.05]), [predicted("silent", math.nan)])
    assert legend(ax)[0] == "measured, mean of 1 seeds: −0.0500 decades/step, R² 1.00 or more" and len(ax.lines) == 1


def test_a_lag_that_some_seeds_have_not_measured_counts_the_others():
    data = seeds([-0.04, -0.06])
    data[0]["log10_grad_norm_by_lag"][..., :5] = np.nan
    (line,) = plots.lag_over_seeds(data).lines
    np.testing.assert_allclose(ys(line)[:5], data[1]["log10_grad_norm_by_lag"].values.reshape(S, T)[0, :5])
