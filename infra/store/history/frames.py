"""The history for pandas: every column with its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infra.store.history.columns import COLUMNS, Cell, as_cell

if TYPE_CHECKING:
    import pandas as pd


def frame(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> pd.DataFrame:
    """Return a table. Cells of a column that this version does not know are texts.

    Raises:
        ValueError: A column does not hold such values.
    """
    import pandas as pd

    cells = zip(*rows, strict=True) if rows else (() for _ in columns)
    return pd.DataFrame({
        column: _typed(COLUMNS.get(column, "string"), values)
        for column, values in zip(columns, cells, strict=True)
    })  # fmt: skip


def with_run(
    table: pd.DataFrame, run_id: str, rows_of_run: Iterable[Mapping[str, object]]
) -> pd.DataFrame:
    """Return the table that it is once a run is added, its own earlier rows replaced."""
    import pandas as pd

    others = table[table["run_id"] != run_id]
    columns = list(table.columns)
    own = frame(columns, [[as_cell(row.get(name)) for name in columns] for row in rows_of_run])
    return own if others.empty else pd.concat([others, own], ignore_index=True)


def _typed(kind: str, values: Sequence[Any]) -> Any:
    import numpy as np
    import pandas as pd

    match kind:
        case "datetime":
            moments = pd.Series(values, dtype="string")
            return pd.to_datetime(moments, format="ISO8601", utc=True)
        case "Float64":
            return pd.Series(np.array(values, dtype=float)).astype("Float64")
        case "boolean":
            truths = [None if value is None else value == 1 for value in values]
            return pd.Series(truths, dtype="boolean")
        case "Int64":
            return pd.Series([*values], dtype="Int64")
    texts = [value if value is None or isinstance(value, str) else str(value) for value in values]
    return pd.Series(texts, dtype="string")
