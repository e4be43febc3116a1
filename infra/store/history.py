"""Every run in one table: `history.csv` in the runs folder, one row per arm, task and metric.

`pandas.read_csv` reads it; `read` also gives every column its type. Columns are only ever added,
at the end. A file that has columns this version does not know (a newer one wrote them) keeps them,
and rows older than a column are empty there.

The file is rewritten as a whole, under a lock, and replaced by one rename: a reader sees whole
rows only, two runs that finish at once both get in, and a retry replaces its own rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.contracts.errors import HistoryError
from infra.store.content import write_atomically

if TYPE_CHECKING:
    import pandas as pd

NAME = "history.csv"

COLUMNS = {
    "run_id": "string",
    "created": "datetime",  # ISO 8601, UTC
    "label": "string",
    "model": "string",
    "source": "string",
    "revision": "string",  # as asked
    "recipe": "string",  # digest of the quantization spec
    "calibration": "string",  # digest of the conversations that were used
    "arm": "string",  # base or quantized
    "checkpoint": "string",  # digest
    "size_bytes": "Int64",  # of the weights
    "task": "string",
    "task_version": "string",
    "num_fewshot": "Int64",
    "exam": "string",  # digest: equal for the same questions in the same words
    "metric": "string",  # <metric>,<filter>
    "primary": "boolean",
    "higher_is_better": "boolean",
    "value": "Float64",
    "stderr": "Float64",
    "n": "Int64",  # documents
    "difference": "Float64",  # candidate minus baseline, the same in the rows of both arms
    "low": "Float64",
    "high": "Float64",  # ends of the paired interval
    "lost": "Int64",
    "gained": "Int64",
    "changed": "Int64",  # rows
    "verdict": "string",
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
    "weights_memory_bytes": "Int64",  # as the engine told when it had loaded them
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
}
"""Columns in their order → pandas type, or `datetime`."""


def append(run_id: str, rows_of_run: Iterable[Mapping[str, object]], folder: Path) -> Path:
    """Add a run's rows to the history of a folder; return the path of the table.

    Args:
        run_id: Of the run; rows that it has there are replaced.
        rows_of_run: Column → cell; see `COLUMNS`.
        folder: The folder that holds the runs.

    Raises:
        HistoryError: The file there is not a history, or was damaged. It is left as it is.
    """
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{NAME}.lock"):
        columns, rows = _load(path)
        columns += [column for column in COLUMNS if column not in columns]
        kept = [row for row in rows if row["run_id"] != run_id]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows_of_run])
        write_atomically(path, text.getvalue())
    return path


def read(path: Path) -> pd.DataFrame:
    """Return the table with typed columns.

    Columns this version does not know stay text; columns that an older version did not write are
    there, and empty. A file that is missing or empty is an empty table.

    Raises:
        HistoryError: The file there is not a history, or was damaged.
    """
    import pandas as pd

    if not path.is_file() or path.stat().st_size == 0:
        return _typed(pd.DataFrame(columns=["run_id"], dtype="string"))
    try:
        # Texts that look like nothing (a task called `null`) are texts.
        frame = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
        if "run_id" not in frame.columns:
            raise ValueError("it has no column run_id")
        return _typed(frame)
    except ValueError as error:
        raise HistoryError(
            f"{path} cannot be read as a history of runs: {error!s:.200}",
            cause="The file was edited or cut.",
            remedy="Repair or remove the line; the run's own report is complete.",
        ) from error


def with_run(
    frame: pd.DataFrame, run_id: str, rows_of_run: Iterable[Mapping[str, object]]
) -> pd.DataFrame:
    """Return the table that `append` would leave, a run's own earlier rows replaced."""
    import pandas as pd

    others = frame[frame["run_id"] != run_id]
    # As objects: a column that some rows lack would make numbers with a point of whole ones.
    own = _typed(pd.DataFrame([*rows_of_run], dtype=object).astype("string"))
    return own if others.empty else pd.concat([others, own], ignore_index=True)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column its type, and add those that are missing."""
    import pandas as pd

    missing = {column: "string" for column in COLUMNS if column not in frame.columns}
    frame = frame.reindex(columns=[*frame.columns, *missing]).astype(missing)
    for column in frame.columns.intersection(list(COLUMNS)):
        kind = COLUMNS[column]
        if kind == "datetime":
            frame[column] = pd.to_datetime(frame[column], format="ISO8601", utc=True)
        elif kind == "boolean":
            frame[column] = frame[column].map({"True": True, "False": False}).astype("boolean")
        else:
            frame[column] = frame[column].astype(kind)  # type: ignore[call-overload]
    return frame


def _load(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return columns and rows as text, so that nothing is rounded on the way back."""
    if not path.is_file() or path.stat().st_size == 0:
        return [], []
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        columns = next(reader)
        if "run_id" not in columns or len(set(columns)) < len(columns):
            raise HistoryError(
                f"{path} is not a history of runs: its columns are {', '.join(columns)[:200]}.",
                remedy="Move that file away, or set results.folder to another folder.",
            )
        rows = []
        for cells in reader:
            if len(cells) != len(columns):
                raise HistoryError(
                    f"Line {reader.line_num} of {path} has {len(cells)} cells, "
                    f"the table has {len(columns)} columns.",
                    cause="The file was edited or cut.",
                    remedy="Repair or remove that line; the run's own report is complete.",
                )
            rows.append(dict(zip(columns, cells, strict=True)))
    return columns, rows
