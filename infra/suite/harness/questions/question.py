"""A task's first questions, as lm-eval puts them, before there is a model.

lm-eval hands each conversation to the model's chat template. Here one that keeps the conversations
takes its place, so that they can be rendered later with the template of any model, without lm-eval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.contracts.errors import DatasetError
from infra.contracts.records import Record
from infra.contracts.specs import EvaluationSpec, TaskSpec

DEFAULT_ANSWER_TOKENS = 1024
"""Tokens a generated answer may have where neither the spec nor the task says so."""

_LOOKED_AT = 8
"""Documents of each task, of which the first and the longest are kept."""

_PLACE = re.compile("\x00(\\d+)\x00")
"""Stands in a prompt for a conversation, by its number."""


class Conversation(Record):
    """What a chat template is given."""

    messages: tuple[dict[str, str], ...]
    """Role and content of each, the first one first."""

    opens_answer: bool
    """True: the rendered text ends with the beginning of an answer. False: the last message is the
    beginning of the answer, and the model goes on with it (lm-eval's `gen_prefix`)."""


class Prompt(Record):
    """What a model reads of one request."""

    context: str
    """Text; in a chat, with places for conversations."""

    continuation: str
    """What is scored after it; empty where an answer is generated."""

    answer: int
    """Tokens kept free for a generated answer; 0 where choices are scored."""

    @property
    def numbers(self) -> list[int]:
        """Which conversations it holds."""
        return [int(number) for number in _PLACE.findall(self.context)]

    def filled(self, rendered: Mapping[int, str]) -> str:
        """Return the whole text, with each conversation as it was rendered."""
        return _PLACE.sub(lambda found: rendered[int(found[1])], self.context) + self.continuation


class Questions(Record):
    """The first question of one task, and the longest of its first ones."""

    task: str
    line: str
    """What the spec calls it: the task, or a group or tag that it belongs to."""

    conversations: dict[int, Conversation]
    prompts: tuple[Prompt, ...]
    """Empty where whole texts are read: they are read in windows, without a chat."""


def first_questions(
    tasks: Mapping[str, Any], line: TaskSpec, spec: EvaluationSpec
) -> list[Questions]:
    """Build the first requests of each task exactly as the run will, but without a model.

    Args:
        tasks: lm-eval's tasks by name.
        line: The line of the spec that they come from.
        spec: The tasks.

    Raises:
        DatasetError: A question cannot be put: the task's own code fails.
    """
    found = []
    for name, task in tasks.items():
        kept: dict[int, Conversation] = {}

        def keep(
            messages: Sequence[Mapping[str, str]],
            add_generation_prompt: bool = True,
            kept: dict[int, Conversation] = kept,
        ) -> str:
            plain = tuple({"role": m["role"], "content": m["content"]} for m in messages)
            kept[len(kept)] = Conversation(messages=plain, opens_answer=add_generation_prompt)
            return f"\x00{len(kept) - 1}\x00"

        task.set_fewshot_seed(spec.seed)
        try:
            task.build_all_requests(
                limit=min(line.limit or _LOOKED_AT, _LOOKED_AT),
                system_instruction=spec.system_instruction,
                apply_chat_template=spec.chat_template,
                fewshot_as_multiturn=spec.fewshot_as_multiturn,
                chat_template=keep if spec.chat_template else None,
            )
        except Exception as error:  # of a task's own code
            raise DatasetError(
                f"The first question of {name} cannot be put: {type(error).__name__}: {error}",
                cause="A field of the first rows is empty or of another type than the task's "
                "definition takes, or the definition is at fault.",
                remedy="Mend the rows or the definition, or leave the task out.",
            ) from error
        found.append(_chosen(name, line.name, list(task.instances), kept))
    return found


def _chosen(
    task: str, line: str, requests: Iterable[Any], kept: Mapping[int, Conversation]
) -> Questions:
    read = [
        (request.doc_id, prompt)
        for request in requests
        if (prompt := _prompt(request.args)) is not None
    ]
    prompts: list[Prompt] = []
    if read:
        first = read[0][0]
        longest = max((prompt for _, prompt in read), key=lambda prompt: _length(prompt, kept))
        chosen = [prompt for number, prompt in read if number == first]
        prompts = list(dict.fromkeys([*chosen, longest]))
    numbers = sorted({number for prompt in prompts for number in prompt.numbers})
    if not numbers:  # lm-eval renders one for texts too, and asks without it
        numbers = sorted(kept)[:1]
    return Questions(
        task=task,
        line=line,
        conversations={number: kept[number] for number in numbers},
        prompts=tuple(prompts),
    )


def _length(prompt: Prompt, kept: Mapping[int, Conversation]) -> int:
    spoken = sum(
        len(message["content"]) for number in prompt.numbers for message in kept[number].messages
    )
    return len(prompt.context) + len(prompt.continuation) + spoken


def _prompt(arguments: tuple[Any, ...]) -> Prompt | None:
    match arguments:
        case (str(context), dict(given), *_):
            answer = int(given.get("max_gen_toks", DEFAULT_ANSWER_TOKENS))
            return Prompt(context=context, continuation="", answer=answer)
        case (str(context), str(continuation), *_):
            return Prompt(context=context, continuation=continuation, answer=0)
    return None  # whole texts are read in windows
