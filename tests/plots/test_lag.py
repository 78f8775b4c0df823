"""Norm against lag: drawn are the measured numbers, and the fit beside them is that of `fit_decay`."""

import numpy as np
import pytest
from drawn import T, legend, profile, xs, ys
from matplotlib.collections import FillBetweenPolyCollection

import rnnlab
from rnnlab import plots
from rnnlab.gradients.decay import fit_decay
from rnnlab.tracking.slider_images import picture


def test_lag_plot_draws_first_middle_and_last_step_with_bands_and_fit():
    data = profile()
    ax = plots.lag_plot(data)
    solid, fits = ax.lines[::2], ax.lines[1::2]
    for line, fit, step in zip(solid, fits, (0, 2, 4), strict=True):
        one = data.isel(step=step, layer=0, direction=0, state=0)
        np.testing.assert_array_equal(xs(line), one["lag"])
        np.testing.assert_array_equal(ys(line), one["log10_grad_norm_by_lag"])
        np.testing.assert_allclose(ys(fit), [-step, -step - 0.05 * (T - 1)], atol=1e-12)
    bands = [band for band in ax.collections if isinstance(band, FillBetweenPolyCollection)]
    edges = [np.concatenate([path.vertices for path in band.get_paths()]) for band in bands]
    assert [(edge[:, 1].min(), edge[:, 1].max()) for edge in edges] == [
        pytest.approx((-step - 0.05 * (T - 1) - 0.5, -step + 0.25)) for step in (0, 2, 4)
    ]


def test_lag_plot_gives_slope_and_half_life_of_the_fit():
    data = profile()
    data["log10_grad_norm_by_lag"] += np.random.default_rng(0).normal(0, 0.1, data["log10_grad_norm_by_lag"].shape)
    norms = data["log10_grad_norm_by_lag"].isel(step=4, layer=0, direction=0, state=0).values
    decay = fit_decay(norms, data["lag"].values)
    text = legend(plots.lag_plot(data))[2].replace("−", "-")
    assert text.startswith("step 1,000: ")
    slope, stderr = text.removeprefix("step 1,000: ").split(" decades")[0].split(" ± ")
    assert float(slope) == pytest.approx(decay.slope, abs=decay.stderr)
    assert float(stderr) == pytest.approx(decay.stderr, rel=0.5)
    assert f"halves every {decay.half_life:.3g} steps" in text


@pytest.mark.parametrize(
    ("rate", "words"), [(0.1, "doubles every 3.01 steps"), (-1e-4, "halves every 3,010 steps"), (0.0, "does not decay")]
)
def test_growth_slow_decay_and_none_are_put_into_words(rate, words):
    assert legend(plots.compare_lags({"a": profile(rate)}))[0].removesuffix(", R² 1.00").endswith(words)


def test_compare_lags_draws_every_arm_and_lists_the_slowest_decay_first():
    arms = {"tanh": profile(-0.3), "lstm": profile(-0.01), "relu": profile(0.02)}
    ax = plots.compare_lags(arms, step=1)
    for line, data in zip(ax.lines, arms.values(), strict=True):
        np.testing.assert_array_equal(ys(line), data["log10_grad_norm_by_lag"].isel(step=1).values.ravel())
    assert [label.split(":")[0] for label in legend(ax)] == ["relu", "lstm", "tanh"]


def test_a_bent_profile_is_called_bent_and_one_with_losses_all_along_has_no_decay():
    lag = np.arange(T)
    bent, straight = profile(), profile()
    bent["log10_grad_norm_by_lag"][:] = -0.01 * lag**2
    mixed = profile()
    mixed["loss_fraction_by_lag"][:] = 1.0
    labels = legend(plots.compare_lags({"bent": bent, "straight": straight, "mixed": mixed}))
    slope = rnnlab.fit_decay(-0.01 * lag**2, lag)
    assert f"R² {slope.r2:.2f}, bent" in next(label for label in labels if label.startswith("bent"))
    assert next(label for label in labels if label.startswith("straight")).endswith("R² 1.00")
    assert "mixed: losses all along, no decay of one" in labels


def test_table_curve_figures_and_pictures_see_the_same_top_of_a_network():
    L = 12
    config = rnnlab.Config.parse(
        {
            "task": {"kind": "reversal", "length": L},
            "cell": {"kind": "gru", "hidden_size": 6},
            "model": {"num_layers": 2},
            "training": {"steps": 3, "eval_every": 3, "eval_examples": 4, "test_examples": 4, "batch_size": 4},
        }
    )
    result = rnnlab.run(config)
    data = result.profile
    assert data is not None and dict(data.sizes) == {
        "step": 3,
        "layer": 4,
        "direction": 1,
        "state": 1,
        "time": 2 * L + 1,
        "lag": 2 * L + 1,
    }
    # The encoder's upper layer reads, then the decoder's upper layer answers.
    layers = data["log10_grad_norm"].sel(direction="forward", state="h").values  # (S, layers, time)
    spliced = np.concatenate([layers[:, 1, :L], layers[:, 3, L:]], axis=1)
    # Answers come at the last L + 1 steps, so that the decay of one signal is what lies before.
    slope = np.polyfit(np.arange(2 * L + 1)[::-1][: L + 1], spliced[-1, : L + 1], 1)[0]
    assert result.summary()["decay_rate"] == pytest.approx(slope, rel=1e-6)
    assert result.history["grad/decay_rate"].values[-1] == pytest.approx(slope, rel=1e-6)
    for ax, number in ((plots.lag_plot(data), -2), (plots.compare_lags({"gru": data}), -1)):
        drawn = ax.lines[number]
        np.testing.assert_array_equal(ys(drawn), spliced[-1, ::-1])
        assert np.polyfit(xs(drawn)[L:], ys(drawn)[L:], 1)[0] == pytest.approx(slope, rel=1e-6)
    np.testing.assert_array_equal(np.asarray(plots.heatmap(data).images[0].get_array()), spliced)
    alone = data.isel(layer=[1]).copy(data={name: values.isel(layer=[1]) for name, values in data.items()})
    alone["log10_grad_norm"][:, 0, 0, 0] = spliced
    assert picture(data, 2).tobytes() == picture(alone, 2).tobytes()
