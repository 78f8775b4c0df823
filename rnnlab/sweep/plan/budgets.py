"""Budgets of a sweep: the same comparison, smaller or larger, under a name of its own."""

from collections.abc import Mapping
from typing import Any

from rnnlab.common.errors import UserError, nearest
from rnnlab.config.overrides import override


def with_budget(data: Mapping[str, Any], budget: str) -> dict[str, Any]:
    """Apply one of the budgets that a sweep declares.

    Fields of the sweep are replaced as a whole, such as `trials` and `tasks`, and those of its base one by one, such as
    `base.training.steps`.

    Args:
        data: the sweep as plain data.
        budget: which of `budgets`.

    Returns:
        A sweep of its own, named NAME-BUDGET, that declares no budgets.

    Raises:
        UserError: if there is no such budget, or it changes what a budget cannot.
    """
    budgets = data.get("budgets") or {}
    if budget not in budgets:
        advice = nearest(budget, budgets) if budgets else "the sweep declares none, so leave --budget out"
        raise UserError(f"budget '{budget}' is not among the sweep's budgets: {advice}")
    changes = budgets[budget]
    if not isinstance(changes, Mapping):
        raise UserError(f"budgets.{budget} = {changes!r} is not a mapping of the sweep's fields to values")
    result: dict[str, Any] = {key: value for key, value in data.items() if key != "budgets"}
    result["name"] = f"{data.get('name')}-{budget}"
    base: dict[str, Any] = {}
    for name, value in changes.items():
        section, _, field = str(name).partition(".")
        if name in ("name", "budgets"):
            raise UserError(f"budgets.{budget}.{name}: a budget has its sweep's name and its own, so drop it")
        if section != "base":
            result[name] = value
        elif field:
            base[field] = value
        else:
            raise UserError(f"budgets.{budget}.base: name the fields of the base, such as base.training.steps")
    return result | ({"base": override(result["base"], base)} if base else {})
