"""Every cell by name: a file in this folder that registers a cell is all it takes to add one."""

from typing import TypeVar

from rnnlab.cells.base import Cell
from rnnlab.common.errors import UserError, nearest

CELLS: dict[str, type[Cell]] = {}

C = TypeVar("C", bound=type[Cell])


def register(cell: C) -> C:
    """Make a cell known by its `kind`; used as a class decorator."""
    CELLS[cell.model_fields["kind"].default] = cell
    return cell


def make_cell(kind: str, **options: object) -> Cell:
    """Build a cell by name.

    Args:
        kind: its name, such as `"lstm"`.
        options: the cell's fields.

    Returns:
        The validated cell.

    Raises:
        UserError: if the kind or an option is unknown or impossible.
    """
    if kind not in CELLS:
        raise UserError(f"cell.kind = {kind!r} is unknown: {nearest(kind, CELLS)}")
    return CELLS[kind].parse(options, f"cell '{kind}'")
