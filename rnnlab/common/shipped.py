"""Experiments and sweeps that come with the package, by name: a wheel has them without a clone."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "shipped"


def shipped() -> dict[str, Path]:
    """Every file that comes with the package, by its name without the ending."""
    return {path.stem: path for kind in ("experiments", "sweeps") for path in sorted((FOLDER / kind).glob("*.yaml"))}


def locate(path: str | Path) -> Path:
    """The file that a path stands for: that file, or for a bare name without one, what comes with the package.

    Example:
        >>> locate("quickstart").name, locate("my/own.yaml").name
        ('quickstart.yaml', 'own.yaml')
    """
    path = Path(path)
    return path if path.suffix or len(path.parts) > 1 or path.exists() else shipped().get(str(path), path)
