"""Asks some documents of a task, exactly as they are asked among all the others.

lm-eval's own `samples` does not do that: worked examples are drawn from one generator, document
after document, so leaving documents out would change the examples of those that follow; and it
numbers documents anew. Here all questions are built, and then some of them are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from infra.suite.rows import Documents

_CHANGED = ("build_all_requests", "doc_iterator")


@contextmanager
def narrowed(tasks: Mapping[str, Any], only: Documents | None) -> Iterator[None]:
    """Let lm-eval ask and mark some documents alone, while the block lasts.

    Args:
        tasks: lm-eval's tasks by name.
        only: Documents of each of them; None leaves them as they are.
    """
    if only is None:
        yield
        return
    try:
        for name, task in tasks.items():
            _narrow(task, frozenset(only[name]))
        yield
    finally:
        for task in tasks.values():
            for method in _CHANGED:
                task.__dict__.pop(method, None)


def _narrow(task: Any, wanted: frozenset[int]) -> None:
    build, documents = task.build_all_requests, task.doc_iterator

    def chosen(**options: Any) -> Iterator[tuple[int, Any]]:
        return ((number, doc) for number, doc in documents(**options) if number in wanted)

    def build_chosen(**options: Any) -> None:
        task.doc_iterator = documents
        build(**options)
        task._instances = [one for one in task.instances if one.doc_id in wanted]
        task.doc_iterator = chosen

    task.build_all_requests = build_chosen
