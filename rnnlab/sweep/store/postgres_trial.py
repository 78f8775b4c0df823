"""One trial out of PostgreSQL in one statement, where Optuna asks six."""

import json
import math
from typing import Any

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

_TRIAL = """
SELECT number, state::text AS state, datetime_start AS started, datetime_complete AS ended,
  (SELECT json_agg(json_build_array(param_name, param_value, distribution_json) ORDER BY param_id)
     FROM trial_params p WHERE p.trial_id = t.trial_id) AS params,
  (SELECT json_agg(json_build_array(value, value_type) ORDER BY objective)
     FROM trial_values v WHERE v.trial_id = t.trial_id) AS objectives,
  (SELECT json_agg(json_build_array(step, intermediate_value, intermediate_value_type) ORDER BY step)
     FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS reported,
  (SELECT json_object_agg(key, value_json) FROM trial_user_attributes u WHERE u.trial_id = t.trial_id) AS noted,
  (SELECT json_object_agg(key, value_json) FROM trial_system_attributes s WHERE s.trial_id = t.trial_id) AS kept
FROM trials t WHERE t.trial_id = :trial
"""
_NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""What a column of numbers cannot hold, by the type that Optuna notes beside it."""


def read_trial(connection: sa.Connection, trial_id: int) -> FrozenTrial | None:
    """Read a trial with all that belongs to it.

    Args:
        connection: to a database with Optuna's tables.
        trial_id: number of the trial in the database.

    Returns:
        The trial, equal to what `RDBStorage.get_trial` returns; None where there is none.
    """
    row = connection.execute(sa.text(_TRIAL), {"trial": trial_id}).one_or_none()
    if row is None:
        return None
    distributions = {name: json_to_distribution(text) for name, _, text in row.params or []}
    params = {name: distributions[name].to_external_repr(float(value)) for name, value, _ in row.params or []}
    return FrozenTrial(
        number=row.number,
        state=TrialState[row.state],
        value=None,
        values=[_number(*pair) for pair in row.objectives] if row.objectives else None,
        datetime_start=row.started,
        datetime_complete=row.ended,
        params=params,
        distributions=distributions,
        user_attrs=_decoded(row.noted),
        system_attrs=_decoded(row.kept),
        intermediate_values={step: _number(*pair) for step, *pair in row.reported or []},
        trial_id=trial_id,
    )


def _number(value: float | None, kind: str) -> float:
    return _NUMBERS[kind] if value is None else float(value)


def _decoded(texts: dict[str, str] | None) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in (texts or {}).items()}
