"""Whether questions fit the window, told before a server is started.

Only a few documents are looked at, without the words that a chat template adds: what does not fit
here never would. The scoring client checks every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.contracts.records import Record

DEFAULT_ANSWER_TOKENS = 1024
"""Tokens a generated answer may have where neither the spec nor the task says so."""

_LOOKED_AT = 8


class Prompt(Record):
    """The longest of a task's first questions."""

    task: str
    text: str
    answer: int
    """Tokens kept free for a generated answer; 0 where choices are scored."""


def longest_prompts(tasks: Mapping[str, Any]) -> list[Prompt]:
    """Return the longest of the first questions of each task whose requests have been built."""
    found = []
    for name, task in tasks.items():
        prompts = [
            prompt
            for request in list(task.instances or ())[:_LOOKED_AT]
            if (prompt := _prompt(name, request.args)) is not None
        ]
        if prompts:
            found.append(max(prompts, key=lambda prompt: len(prompt.text)))
    return found


def check_fit(prompts: Iterable[Prompt], tokenizer: Any, window: int) -> None:
    """Check that prompts, and the answers to them, fit.

    Raises:
        EvaluationError: One does not.
    """
    for prompt in prompts:
        tokens = len(tokenizer(prompt.text, add_special_tokens=False, verbose=False)["input_ids"])
        if tokens + prompt.answer > window - 1:
            room = f"{tokens} tokens"
            room += f" and {prompt.answer} for the answer" if prompt.answer else ""
            raise EvaluationError(
                f"A prompt of {prompt.task} needs {room}, but serving.max_model_len is {window}, "
                "of which one is kept free.",
                cause="Its beginning would have to be cut off: another question than the task's.",
                remedy="Raise serving.max_model_len, or lower num_fewshot"
                + (" or max_gen_toks of the task." if prompt.answer else " of the task."),
                task=prompt.task,
                needed=tokens + prompt.answer,
                window=window,
            )


def _prompt(task: str, arguments: tuple[Any, ...]) -> Prompt | None:
    match arguments:
        case (str(context), dict(given)):
            answer = int(given.get("max_gen_toks", DEFAULT_ANSWER_TOKENS))
            return Prompt(task=task, text=context, answer=answer)
        case (str(context), str(continuation)):
            return Prompt(task=task, text=context + continuation, answer=0)
    return None  # whole texts are read in windows
