"""Answers of models that think before they answer: what is thought is no part of the answer.

What came back stays as it came, thinking included; what is marked is what stands behind it. Stop
strings of a task are looked for there alone: sent to a server, they would end a thought.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from infra.contracts.specs import ThinkingSpec


def answer_of(text: str, thinking: ThinkingSpec, stops: Sequence[str] = ()) -> str:
    """Return what a model answers; empty if it ended while it still thought.

    Args:
        text: What came back, with the opening mark also where the template wrote that.
        thinking: Marks around what is thought.
        stops: Texts at which an answer ends.
    """
    if is_unfinished(text, thinking):
        return ""
    _, mark, after = text.rpartition(thinking.end)
    answer = after.lstrip() if mark else text
    ends = [place for stop in stops if stop and (place := answer.find(stop)) >= 0]
    return answer[: min(ends)] if ends else answer


def is_unfinished(text: str, thinking: ThinkingSpec) -> bool:
    """Return whether a text ends within a thought."""
    return thinking.begin in text.rpartition(thinking.end)[2]


def opened(prompt: str, thinking: ThinkingSpec) -> bool:
    """Return whether a prompt ends with an opened thought: some templates write the mark."""
    return prompt.rstrip().endswith(thinking.begin)


def set_apart(task: Any, thinking: ThinkingSpec) -> None:
    """Have a loaded task of written answers mark what stands behind the thinking.

    Args:
        task: One of lm-eval's; its stop strings are taken from what a server is sent.
        thinking: Marks around what is thought.
    """
    given = {**(task.get_config("generation_kwargs") or {})}
    until = given.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(map(str, until))
    task.set_config("generation_kwargs", {**given, "until": []})
    for ensemble in task._filters:
        ensemble.filters.insert(0, partial(_Behind, thinking, stops))


@dataclass(frozen=True)
class _Behind:
    """A filter of lm-eval's that leaves the answers alone."""

    thinking: ThinkingSpec
    stops: tuple[str, ...]

    def apply(self, responses: Iterable[Sequence[str]], docs: object) -> list[list[str]]:
        """Return the answers of each document, without what was thought."""
        return [[answer_of(one, self.thinking, self.stops) for one in all_] for all_ in responses]
