from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import ComparisonError
from infra.suite.rows import questions_digest, read_rows, write_rows


def row(doc_id: int, **fields: Any) -> dict[str, Any]:
    return {
        "task": "t", "doc_id": doc_id, "doc_hash": f"d{doc_id}", "prompt_hash": f"p{doc_id}",
        "target_hash": f"t{doc_id}", "prompt": "Question?", "continuations": [], "target": "1",
        "responses": [["1"]], "truncated": False, "filtered": {"none": ["1"]},
        "metrics": {"acc,none": np.float64(1)}, "doc": {"question": "Question?"}, **fields,
    }  # fmt: skip


@pytest.mark.parametrize("field", ["task", "doc_id", "doc_hash", "prompt_hash", "target_hash"])
def test_the_digest_of_questions_sees_what_was_asked(field: str) -> None:
    rows = [row(0), row(1)]
    before = questions_digest(rows)
    rows[1]["responses"], rows[1]["metrics"] = [["2"]], {}
    assert questions_digest(rows) == before
    rows[1][field] = "other"
    assert questions_digest(rows) != before


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [row(0), row(1, target={1, 2})])
    first, second = read_rows(tmp_path / "rows.jsonl", "t")
    assert first.score("acc,none") == 1
    assert first.answer("acc,none") == "1"
    assert first.question == second.question != second.doc_hash
    assert second.target == "{1, 2}"  # JSON has no sets


@pytest.mark.parametrize("damage", ["{", "[]", "{}"])
def test_a_line_that_is_no_row_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(0, metrics={})) + "\n" + damage + "\n")
    with pytest.raises(ComparisonError, match=r"Line 2 of .* is not a row of t"):
        list(read_rows(path, "t"))
    with pytest.raises(ComparisonError, match="cannot be read"):
        list(read_rows(tmp_path / "gone.jsonl", "t"))
