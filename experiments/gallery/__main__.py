"""Draw the gallery: `python -m experiments.gallery [NAME ...] [--out FOLDER]`."""

import argparse
import ast
import inspect
import textwrap
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from matplotlib.axes import Axes

from rnnlab.plots import save

from .data import Data
from .figures import FIGURES, Drawn

INTRO = """# Gallery

Every figure of `rnnlab.plots`, drawn from real runs by `make figures`. A figure is a function: data first, `ax=` to
draw on axes of your own, and it returns the axes; `ax.figure` shows it in a notebook, `plots.save(ax, path)` writes it.

```python
import rnnlab
from rnnlab import plots
```

The names in the code below, all made in `experiments/gallery/data.py`:

| name | what |
|---|---|
"""


def main() -> None:
    """Draw the named figures, or all of them and the page."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gallery", description=__doc__)
    names = [draw.__name__ for draw in FIGURES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which figures: {', '.join(names)}; all if none")
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"), help="folder to write (docs/gallery)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"unknown figure {sorted(unknown)[0]!r}: choose from {', '.join(names)}")
    options.out.mkdir(parents=True, exist_ok=True)
    data = Data()
    for draw in FIGURES:
        if not options.names or draw.__name__ in options.names:
            began = time.monotonic()
            drawn = draw(**{name: getattr(data, name) for name in inspect.signature(draw).parameters})
            path = options.out / f"{draw.__name__}.png"
            save(drawn if isinstance(drawn, Axes) else drawn[0], path)
            size, seconds = path.stat().st_size / 1000, time.monotonic() - began
            print(f"{path}  {size:.0f} kB  {seconds:.0f} s", flush=True)
    if not options.names:
        (options.out / "README.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The gallery as Markdown."""
    used = {name for draw in FIGURES for name in inspect.signature(draw).parameters}
    known = {name: value for name, value in vars(Data).items() if isinstance(value, cached_property)}
    rows = [f"| `{name}` | {value.__doc__} |\n" for name, value in known.items() if name in used or name == "lstm"]
    return INTRO + "".join(rows) + "".join(section(draw) for draw in FIGURES)


def section(draw: Callable[..., Drawn]) -> str:
    """Name, figure, what it shows and the code that draws it."""
    name, text = draw.__name__, " ".join((draw.__doc__ or "").split())
    return f"\n## {name}\n\n![{name}]({name}.png)\n\n{text}\n\n```python\n{code(draw)}\n```\n"


def code(draw: Callable[..., Drawn]) -> str:
    """The body of a function, with `ax = ` for what it returns."""
    source = textwrap.dedent(inspect.getsource(draw))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    lines = [ast.get_source_segment(source, statement) or "" for statement in function.body[1:]]
    return "\n".join(lines).replace("return ", "ax = ")


if __name__ == "__main__":
    main()
