"""From what lm-eval logged to rows: the question, what came back, how it was marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from infra.contracts.specs import ThinkingSpec
from infra.suite.harness.thinking import is_unfinished
from infra.suite.rows import UNFINISHED, Row

Finishes: TypeAlias = Mapping[tuple[str, int, int], str | None]
"""Task, document and which asking of it → why the generated text ended; none where the server gave
no reason."""


def sample_rows(
    samples: Mapping[str, Iterable[Mapping[str, Any]]],
    finishes: Finishes | None = None,
    thinking: ThinkingSpec | None = None,
    times: int | None = None,
) -> list[Row]:
    """Return one row a document, or an asking of it, with the marks of every filter side by side.

    lm-eval lists a document once for each filter; the rows of a document are joined. Hashes are
    lm-eval's own.

    Args:
        samples: Task → what lm-eval logged.
        finishes: Task, document and asking → why the generated text ended.
        thinking: Marks around what a model thinks; an answer may end within them.
        times: How often each document was asked, if askings are marked one by one.
    """
    rows: dict[tuple[str, int], Row] = {}
    for task, logged in samples.items():
        for sample in logged:
            row = rows.setdefault(
                (task, sample["doc_id"]), _row(task, sample, finishes or {}, thinking, times)
            )
            name = sample["filter"]
            row.filtered[name] = sample["filtered_resps"]
            row.metrics.update({f"{metric},{name}": sample[metric] for metric in sample["metrics"]})
    return [*rows.values()]


def _row(
    task: str,
    sample: Mapping[str, Any],
    finishes: Finishes,
    thinking: ThinkingSpec | None,
    times: int | None,
) -> Row:
    arguments = sample["arguments"]
    prompt = str(arguments[0][0])
    continuations = [args[1] for args in arguments if len(args) > 1 and isinstance(args[1], str)]
    number, turn = divmod(sample["doc_id"], times or 1)
    whose = task, number, turn
    written = not continuations and whose in finishes
    unfinished = thinking and written and is_unfinished(str(sample["resps"][0][0]), thinking)
    return Row(
        task=task,
        doc_id=number,
        doc_hash=sample["doc_hash"],
        prompt_hash=sample["prompt_hash"],
        target_hash=sample["target_hash"],
        prompt=prompt,
        continuations=continuations,
        target=sample["target"],
        responses=sample["resps"],
        finish_reason=UNFINISHED if unfinished else finishes.get(whose),
        truncated=finishes.get(whose) == "length",
        filtered={},
        metrics={},
        doc=sample["doc"],
        repeat=None if times is None else turn,
    )
