"""Asks each document several times, in the same words, as a document of its own to lm-eval.

lm-eval's own `repeats` hands all answers to a document's marking together; here each is marked by
itself. Questions are built once, so that the worked examples are those of a single asking; then
each is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

_CHANGED = ("build_all_requests", "doc_iterator")


@dataclass
class Repeat(Instance):  # type: ignore[misc]
    """One asking of a document; `doc_id` numbers askings."""

    question: int | None = None
    """Number of the document."""

    turn: int = 0
    """Which asking of it, from 0."""


@contextmanager
def repeated(tasks: Mapping[str, Any], times: int | None) -> Iterator[None]:
    """Let lm-eval ask and mark every document so often, while the block lasts.

    Limits count documents, not repeats. May stand within `narrowed`, and not around it.

    Args:
        tasks: lm-eval's tasks by name.
        times: None leaves them as they are.
    """
    if times is None:
        yield
        return
    before = {
        name: {method: task.__dict__.get(method) for method in _CHANGED}
        for name, task in tasks.items()
    }
    try:
        for task in tasks.values():
            _repeat(task, times)
        yield
    finally:
        for name, task in tasks.items():
            for method, value in before[name].items():
                task.__dict__.pop(method, None)
                if value is not None:
                    task.__dict__[method] = value


def _repeat(task: Any, times: int) -> None:
    build, documents = task.build_all_requests, task.doc_iterator

    def build_repeated(**options: Any) -> None:
        task.doc_iterator = documents
        build(**options)
        chosen = task.doc_iterator
        task._instances = [
            _asking(one, turn, times) for one in task.instances for turn in range(times)
        ]

        def askings(**options: Any) -> Iterator[tuple[int, Any]]:
            return (
                # Marking may write into it what is of one asking alone.
                (number * times + turn, copy(document))
                for number, document in chosen(**options)
                for turn in range(times)
            )

        task.doc_iterator = askings

    task.build_all_requests = build_repeated


def _asking(one: Instance, turn: int, times: int) -> Repeat:
    number = int(one.doc_id or 0)
    return Repeat(
        request_type=one.request_type,
        doc=one.doc,
        arguments=one.arguments,
        idx=one.idx,
        metadata=(one.task_name, number * times + turn, one.repeats),
        question=number,
        turn=turn,
    )
