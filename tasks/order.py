"""What each task of a run waits for, as Prefect draws it.

Prefect draws a line from whatever made a value to whatever is given it, and looks into every value
for that. Since all tasks write into one folder, and a spec holds the same words as a result, it
would draw all of them behind all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.utilities.annotations import opaque, quote

from tasks.outcomes import value_of

P = ParamSpec("P")
T = TypeVar("T")


class Order:
    """Calls tasks so that each is drawn behind those whose results it really needs."""

    def __init__(self) -> None:
        self._kept: list[object] = []  # so that no other object gets the address of one
        self._before: dict[int, set[int]] = {}
        self._parts: dict[int, dict[int, object]] = {}

    def after(self, needed: Sequence[object], task: Task[P, T]) -> Callable[P, T]:
        """Return a task that is called as it is, and drawn behind what made the things needed.

        What another one of them needed as well has no line of its own.

        Args:
            needed: Results of tasks, and what was put together from them.
            task: What needs them.
        """
        results = self._results(needed)
        implied = set[int]().union(*(self._before.get(one, set()) for one in results))
        wanted = [opaque(one) for place, one in results.items() if place not in implied]

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            given = [quote(one) for one in args]
            named: dict[str, Any] = {name: quote(one) for name, one in kwargs.items()}
            return self.made(value_of(cast(T, task(*given, wait_for=wanted, **named))), needed)

        return call

    def made(self, result: T, needed: Sequence[object]) -> T:
        """Remember what the result of a task needed; return it."""
        results = self._results(needed)
        self._kept += [result, *results.values()]
        self._before[id(result)] = set(results).union(
            *(self._before.get(one, set()) for one in results)
        )
        return result

    def together(self, whole: T, parts: Sequence[object]) -> T:
        """Remember of what results something was put together without a task; return it."""
        self._kept.append(whole)
        self._parts[id(whole)] = self._results(parts)
        return whole

    def _results(self, things: Sequence[object]) -> dict[int, object]:
        """Return the results of tasks that things are, or were put together from, by address."""
        found: dict[int, object] = {}
        for one in things:
            found |= self._parts.get(id(one), {id(one): one})
        return found
