"""Recurrent cells: one a file, read like their equations."""

import importlib
import pkgutil

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import CELLS, make_cell, register
from rnnlab.cells.weights import Weights

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CELLS", "Cell", "States", "Weights", "make_cell", "register"]
