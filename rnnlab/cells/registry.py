"""Every cell by name: a file in this folder, or a plug-in, that registers a cell is all it takes to add one."""

from rnnlab.cells.base import Cell
from rnnlab.common.registry import Registry

CELLS: Registry[type[Cell]] = Registry("cell", "rnnlab.cells")
register = CELLS.register


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
    return CELLS.find(kind).parse(options, f"cell '{kind}'")
