"""Recurrent cells: one a file, read like their equations."""

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import CELLS, make_cell, register
from rnnlab.cells.weights import MemberWeights, Weights

__all__ = ["CELLS", "Cell", "MemberWeights", "States", "Weights", "make_cell", "register"]
