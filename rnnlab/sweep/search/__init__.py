"""Optuna's samplers and pruners, made."""
