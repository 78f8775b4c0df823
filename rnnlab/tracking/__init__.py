"""Runs written to MLflow and read back as labelled arrays and tables."""

import os

# Set before any module of this package imports MLflow, which reads some of these only once; no look at the
# network, no lines among the program's own. What the user set stays.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Runs wait on disk where a server does not answer, and are sent again: MLflow itself would go on for ten minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}.items():
    os.environ.setdefault(_name, _value)
