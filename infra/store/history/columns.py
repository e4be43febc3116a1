"""What a row of the history holds: its columns in their order, and its cells in either form.

Columns are only ever added, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TypeAlias

Cell: TypeAlias = str | int | float | None
"""As the database has it. A number that is not finite is its name, for want of another form."""

COLUMNS = {
    "run_id": "string",
    "created": "datetime",  # ISO 8601, UTC
    "label": "string",
    "model": "string",
    "source": "string",
    "revision": "string",  # as in the spec; of an endpoint its declared version
    "recipe": "string",  # digest of what makes the candidate; empty for the baseline
    "calibration": "string",  # digest of the conversations that were used
    "arm": "string",  # baseline, the candidate's name, or an endpoint as model@url
    "checkpoint": "string",  # digest
    "size_bytes": "Int64",  # of the weights
    "task": "string",
    "task_version": "string",
    "num_fewshot": "Int64",
    "questions": "string",  # digest: equal for the same questions in the same words
    "metric": "string",  # <metric>,<filter>
    "primary": "boolean",
    "higher_is_better": "boolean",
    "value": "Float64",
    "stderr": "Float64",
    "n": "Int64",  # documents
    # A candidate beside the baseline, whose own rows are empty here, and in all that is pooled.
    # Rows that were written before candidates had names have the same in both arms.
    "difference": "Float64",  # candidate minus baseline
    "low": "Float64",
    "high": "Float64",  # ends of the paired interval
    "lost": "Int64",
    "gained": "Int64",
    "changed": "Int64",  # rows
    "verdict": "string",  # on the candidate; in the rows of the baseline that on the whole run
    "engine": "string",
    "engine_version": "string",
    "device": "string",
    "kernel": "string",
    "startup_seconds": "Float64",
    "evaluation_seconds": "Float64",
    "documents_per_second": "Float64",
    "assay_commit": "string",
    # Since runs have a margin. Rows of older runs are empty from here on.
    "recipe_name": "string",
    "dataset": "string",
    "reused": "boolean",  # an earlier run had measured it: no new measurement
    "pairs": "Int64",  # rows in both arms
    "p_value": "Float64",
    "p_adjusted": "Float64",  # Holm, over the tasks
    "margin_points": "Float64",
    "pooled_rows": "Int64",
    "flip_rate": "Float64",  # share of all rows that only one arm has right
    "pooled_difference": "Float64",
    "pooled_low": "Float64",
    "pooled_high": "Float64",
    "pooled_bound": "Float64",  # one-sided: the largest loss that is not excluded
    "alert": "boolean",
    "dtype": "string",
    "driver": "string",
    "host": "string",
    "environment": "string",  # folder of the engine's environment: ends with the lock's digest
    "serving": "string",  # digest of the serving spec
    "max_model_len": "Int64",  # tokens
    "agreement": "Float64",  # share of next tokens
    "kl_mean": "Float64",  # nats
    "perplexity": "Float64",
    "weights_memory_bytes": "Int64",  # as the engine reports it when it has loaded them
    "process_memory_bytes": "Int64",
    "lowest_concurrency": "Int64",  # of the measurements with the shortest prompts
    "lowest_tpot_ms": "Float64",  # time per output token, median
    "lowest_output_tokens_per_second": "Float64",
    "highest_concurrency": "Int64",
    "highest_tpot_ms": "Float64",
    "highest_output_tokens_per_second": "Float64",
    "run_seconds": "Float64",  # all stages
    # Since metrics are declared.
    "unit": "string",
    "aggregation": "string",  # how rows become the metric
    # Since questions can be asked several times each; empty where they are not.
    "repeats": "Int64",  # of each question; each is a row
    "pass_at_repeats": "Float64",  # share of questions of which one answer at least is right
}
"""Columns in their order → pandas type, or `datetime`."""

PLACE = "history_row"
"""The database's own column: the place of a row among all. No cell of a run."""

FORMER_COLUMNS = {"exam": "questions"}
"""Name of a column in files of earlier versions → its name today."""

_TRUTHS = {"true": 1, "1": 1, "false": 0, "0": 0}


def as_cell(value: object) -> Cell:
    """Return a value of a new row in the database's form."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, int) else str(value)


def parser_of(column: str) -> Callable[[str], Cell] | None:
    """Return what makes the database's form of a column's cell in a CSV file that is not empty.

    It raises a ValueError for what the column does not hold. None for texts, which stay as they
    are, and those of a column that this version does not know are texts.
    """
    return _PARSERS.get(COLUMNS.get(column, "string"))


def _integer(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        exact = float(text)  # as pandas writes a column of integers that has empty cells
        if not exact.is_integer():
            raise
        number = int(exact)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text} is too large")
    return number


def _fraction(text: str) -> Cell:
    number = float(text)
    return number if math.isfinite(number) else text


def _truth(text: str) -> int:
    # Spreadsheets write them in capitals.
    if (truth := _TRUTHS.get(text.lower())) is None:
        raise ValueError(f"{text!r} is neither True nor False")
    return truth


@cache
def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    # One zone and one form, so that the order of texts is that of moments.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat()


_PARSERS: Mapping[str, Callable[[str], Cell]] = {
    "datetime": _moment, "Int64": _integer, "Float64": _fraction, "boolean": _truth,
}  # fmt: skip
