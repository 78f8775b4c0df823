"""Maps of gates and saturation: every measured share in its cell, from 0 to 1, hatched where there is none."""

import numpy as np
import pytest
import torch
import xarray as xr
from drawn import legend, pixels, rows

import rnnlab
from rnnlab import plots
from rnnlab.common.errors import UserError

T = 9


@pytest.fixture(scope="module")
def once() -> xr.Dataset:
    """Measured once: no training steps."""
    torch.manual_seed(0)
    net = rnnlab.LSTM(2, 5, num_layers=2)
    with rnnlab.trace(net) as tape:
        net(torch.randn(T, 4, 2))[0][-1].sum().backward()
    return rnnlab.measure(tape.traces, ["gates", "saturation"])


@pytest.fixture
def probed(once: xr.Dataset) -> xr.Dataset:
    """Measured at three training steps, as a run is."""
    steps = xr.concat([once, once * 0.5, once * 0.25], "step")
    return steps.assign_coords(step=[0, 1, 2], train_step=("step", [0, 10, 1000]))


@pytest.mark.parametrize(
    ("draw", "quantity", "dim"),
    [(plots.gate_map, "gate_mean", "gate"), (plots.saturation_map, "saturated_fraction", "nonlinearity")],
)
def test_every_name_has_a_block_of_rows_and_training_runs_upwards_in_each(draw, quantity, dim, once, probed):
    single, several = draw(once), draw(probed)
    names = once[quantity][dim].values.tolist()
    shown = once[quantity].isel(layer=-1, direction=0).transpose(dim, "time").values
    np.testing.assert_array_equal(pixels(single.images[0])[::-1], shown)
    assert rows(single) == names
    trained = probed[quantity].isel(layer=-1, direction=0).transpose(dim, "step", "time").values
    np.testing.assert_array_equal(pixels(several.images[0])[::-1], trained[:, ::-1].reshape(-1, T))
    assert rows(several) == ["1,000", "10", "0"] * len(names)
    assert [text.get_text() for text in several.texts][::-1] == names
    assert single.images[0].get_clim() == several.images[0].get_clim() == (0, 1)


def test_a_step_that_was_not_measured_is_hatched(probed):
    probed["gate_mean"][{"time": slice(0, 3)}] = np.nan
    ax = plots.gate_map(probed)
    assert np.isnan(pixels(ax.images[0])[:, :3]).all() and np.isfinite(pixels(ax.images[0])[:, 3:]).all()
    assert ax.patch.get_hatch() and legend(ax) == ["not measured"]
    assert not legend(plots.gate_map(probed, "gate_open_fraction"))


def test_what_was_not_measured_or_is_no_share_is_refused(once):
    with pytest.raises(UserError, match=r"'gate_mean' was not measured: .* probe 'gates' did not run"):
        plots.gate_map(once[["saturated_fraction"]])
    with pytest.raises(UserError, match="quantity = 'log10_gate' has no such map: choose from gate_mean"):
        plots.gate_map(once, "log10_gate")
