"""What programs read: one JSON object that every parser takes."""

import json
import math

from rnnlab.common.output import Output, dumps


def test_what_is_no_finite_number_is_null_at_any_depth():
    record = {"a": math.nan, "b": [1.5, math.inf, {"c": (-math.inf, "NaN", None, True)}]}
    assert json.loads(dumps(record)) == {"a": None, "b": [1.5, None, {"c": [None, "NaN", None, True]}]}
    assert "NaN," not in dumps(record).replace('"NaN",', "")


def test_each_flag_leaves_stdout_to_what_it_promises(capsys):
    for quiet, as_json, stdout, stderr in (
        (False, False, "on the way\n", ""),
        (True, False, "word\n", ""),
        (False, True, '{\n  "a": 1\n}\n', "on the way\n"),
        (True, True, '{\n  "a": 1\n}\n', ""),
    ):
        output = Output(quiet, as_json)
        output.console().print("on the way")
        output.finish({"a": 1}, word="word")
        assert capsys.readouterr() == (stdout, stderr)
