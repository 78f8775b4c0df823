"""Profiles on disk: one as netCDF, and a long record as a folder of them."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from rnnlab.common.errors import UserError
from rnnlab.common.files import write_whole

if TYPE_CHECKING:
    import xarray as xr

STEPS = 500
"""Recorded steps in one file; so many are kept in memory at most."""


def encode_arrays(arrays: "xr.Dataset") -> bytes:
    """A gradient profile, or what probes measured, as netCDF in float32.

    The classic format of netCDF 3: what HDF5 keeps of so many small arrays takes more room than the arrays, and twenty
    times as long to read.
    """
    floats = [name for name, array in arrays.data_vars.items() if array.dtype.kind == "f"]
    single = {name: {"dtype": "float32"} for name in floats}
    # Into memory first: on a full disk the netCDF library would not say what is wrong.
    return bytes(arrays.to_netcdf(engine="scipy", format="NETCDF3_64BIT", encoding=single))


def load_arrays(path: str | Path) -> "xr.Dataset":
    """Read what `encode_arrays` has written."""
    import xarray as xr

    return xr.load_dataset(path, engine="scipy")


class RecordFolder:
    """A record that grows on disk, a file for every `STEPS` steps.

    Args:
        folder: is made; holds no record yet.

    Raises:
        UserError: if it does, or cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"folder = {folder} cannot be made: {error.strerror}; name another one") from None
        if any(folder.glob("steps-*.nc")):
            raise UserError(f"folder = {folder} holds a record already: name another one, or move that away")

    def write(self, dataset: "xr.Dataset") -> None:
        """Add steps to those that are there."""
        count = dataset.sizes["step"]
        whole = dataset.assign_coords(step=dataset["step"] + self.written)
        write_whole(self.folder / f"steps-{self.written:09d}.nc", encode_arrays(whole))
        self.written += count

    def read(self, newest: "xr.Dataset") -> "xr.Dataset":
        """All steps, those in memory last."""
        import xarray as xr

        parts = [load_arrays(path) for path in sorted(self.folder.glob("steps-*.nc"))]
        if newest.sizes["step"]:
            parts.append(newest.assign_coords(step=newest["step"] + self.written))
        if not parts:
            return newest
        return cast(xr.Dataset, xr.concat(parts, "step", join="outer", combine_attrs="override", data_vars="all",
                                          coords="minimal", compat="override"))  # fmt: skip
