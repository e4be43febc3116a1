"""What is said of pairs that lost words before they were asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.contracts.records import TaskScores
from infra.store.run_folder import RunFolder
from infra.suite.own.preference import CUT
from infra.suite.rows import read_rows


def sentences(tasks: Mapping[str, TaskScores], run: RunFolder) -> dict[str, str]:
    """Return how many pairs of each task were cut, and by what.

    Args:
        tasks: Task → what one arm scored; all arms were asked the same.
        run: Holds its rows.
    """
    found = {name: _of(run.path / scores.samples, name) for name, scores in tasks.items()}
    return {f"cut texts of {name}": said for name, said in found.items() if said}


def _of(samples: Path, task: str) -> str:
    pairs: set[str] = set()
    cut: set[str] = set()
    by_tokens = False
    for row in read_rows(samples, task):
        if not {"cut", "order"} <= row.doc.keys():
            return ""
        pair = str([row.doc.get(name) for name in ("question", "response_a", "response_b")])
        pairs.add(pair)
        if row.doc["cut"] not in ("", "0"):
            cut.add(pair)
        by_tokens = by_tokens or bool(row.doc.get(CUT))
    if not cut:
        return ""
    by = "the baseline's tokenizer and window" if by_tokens else "a limit in letters"
    return f"{task}: {len(cut):,} of {len(pairs):,} pairs lost words, by {by}"
