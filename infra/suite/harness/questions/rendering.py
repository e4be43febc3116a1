"""Whether a model's chat template takes a suite's first questions, and shows all of them.

A template may refuse a system message, or turns in an order it does not know; or it passes over a
message without a word, and the model reads something else. Imports no lm-eval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from infra.contracts.errors import TemplateError
from infra.contracts.specs import EvaluationSpec
from infra.contracts.wording import listed
from infra.models.chat_template import ChatTemplate
from infra.suite.harness.questions.question import Conversation, Questions

_PLAIN = "set evaluation.chat_template to False"
_ITSELF = "the question itself"
_LINES = "{tasks}"
"""Stands in a remedy for what the spec names."""

_NAMED = 6
_EXCERPT = 300

Change = Callable[[Conversation], Conversation | None]
"""Returns a conversation without what may be at fault; None if there is no such thing in it."""


@dataclass(frozen=True)
class _Fault:
    """What a template does wrong with a conversation."""

    words: str
    """What it says; empty where it says nothing and leaves something out."""

    lost: tuple[int, ...] = ()
    """Places of the messages it leaves out."""


def render(questions: Questions, template: ChatTemplate) -> dict[int, str]:
    """Return a task's conversations as the model reads them."""
    return {number: _text(one, template) for number, one in questions.conversations.items()}


def faults(
    suite: Iterable[Questions], template: ChatTemplate, spec: EvaluationSpec
) -> list[TemplateError]:
    """Return what keeps questions from being put in a chat, tasks with the same fault together.

    Args:
        suite: The first questions of each task.
        template: Of the model.
        spec: The tasks.
    """
    found = []
    for questions in suite:
        for conversation in questions.conversations.values():
            if (fault := _fault(conversation, template, read=bool(questions.prompts))) is not None:
                found.append((questions, conversation, fault))
                break
    explained = [(_explained(one, fault, template, spec), where) for where, one, fault in found]
    explained.sort(key=lambda pair: pair[0])
    return [
        _error(what, words, remedy, [where for _, where in group], spec)
        for (what, words, remedy), group in groupby(explained, key=lambda pair: pair[0])
    ]


def unread_variables(template: ChatTemplate, spec: EvaluationSpec) -> str:
    """Return a sentence on given variables that the template never reads; empty if it reads all."""
    read = template.reads()
    if not (unread := sorted(spec.chat_template_kwargs.keys() - read)):
        return ""
    variables = sorted(name for name in read if not name.endswith("_token"))
    return (
        f"evaluation.chat_template_kwargs: the model's chat template never reads "
        f"{listed(unread)}; it reads {listed(variables) if variables else 'no variables'}"
    )


def _text(conversation: Conversation, template: ChatTemplate) -> str:
    return template.render(
        conversation.messages,
        add_generation_prompt=conversation.opens_answer,
        continue_final_message=not conversation.opens_answer,
    )


def _fault(conversation: Conversation, template: ChatTemplate, *, read: bool) -> _Fault | None:
    """Return what a template does wrong with a conversation, if anything.

    Args:
        conversation: What it is given.
        template: Of the model.
        read: Whether anything of it will be read; if not, it only must not be refused.
    """
    try:
        text = _text(conversation, template)
    except Exception as error:  # an expression of a template may raise anything
        return _Fault(" ".join(str(error).split())[:_EXCERPT] or type(error).__name__)
    lost = tuple(_lost(conversation, text, template)) if read else ()
    return _Fault("", lost) if lost else None


def _lost(conversation: Conversation, text: str, template: ChatTemplate) -> Iterator[int]:
    """Yield the places of messages that do not appear in a rendering.

    An answer like "A" stands in every text, so each message is rendered with a mark at its end. A
    template that does not take marks is searched for the words themselves.
    """
    marks = {
        place: f"qz{place}zq"
        for place, message in enumerate(conversation.messages)
        if message["content"].strip()
    }
    marked = [
        {**message, "content": message["content"] + marks.get(place, "")}
        for place, message in enumerate(conversation.messages)
    ]
    try:
        shown = _text(conversation.model_copy(update={"messages": tuple(marked)}), template)
    except Exception:  # of a template that compares contents
        shown, words = text, [_squeezed(m["content"]) for m in conversation.messages]
        marks = {place: words[place] for place in marks}
    shown = _squeezed(shown)
    yield from (place for place, mark in marks.items() if mark not in shown)


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _explained(
    conversation: Conversation, fault: _Fault, template: ChatTemplate, spec: EvaluationSpec
) -> tuple[str, str, str]:
    """Return what is at fault, the template's words, and a remedy, each tried on the template."""
    what, remedy = _ITSELF, _PLAIN
    cures = _cures(conversation, template, spec)
    for count in range(1, len(cures) + 1):
        for chosen in combinations(cures, count):
            if _heals(conversation, [cure.change for cure in chosen], template):
                what = " and ".join(cure.what for cure in chosen)
                remedies = dict.fromkeys(cure.remedy for cure in chosen)
                remedy = _PLAIN if _PLAIN in remedies else " and ".join(remedies)
                return what, fault.words, remedy
    if spec.chat_template_kwargs and _heals(conversation, [], template.without_variables()):
        what = "the question with evaluation.chat_template_kwargs"
        remedy = "leave evaluation.chat_template_kwargs empty or give other values"
    elif fault.lost:
        roles = dict.fromkeys(conversation.messages[place]["role"] for place in fault.lost)
        what = f"the {' and '.join(roles)} message"
    return what, fault.words, remedy


def _error(
    what: str, words: str, remedy: str, affected: Sequence[Questions], spec: EvaluationSpec
) -> TemplateError:
    tasks = [questions.task for questions in affected]
    shown = listed(tasks[:_NAMED]) + (
        f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
    )
    does = "refuses" if words else "leaves out"
    roles = _roles(next(iter(affected[0].conversations.values())))
    lines = sorted({questions.line for questions in affected})
    fully = remedy
    if remedy == _PLAIN:
        more = " (and fewshot_as_multiturn)" if spec.fewshot_as_multiturn else ""
        fully = f"{remedy}{more}, or leave {listed(lines)} out of evaluation.tasks"
    fully = fully.replace(_LINES, listed(lines))
    return TemplateError(
        f"The model's chat template {does} {what} in the first question of {shown}.",
        cause=f"It says: {words}. It was given {roles}."
        if words
        else f"It was given {roles}, and what it made of them does not hold that.",
        remedy=f"{fully[0].upper()}{fully[1:]}.",
        words=words,
        nothing_helps=bool(words) and what == _ITSELF,
    )


@dataclass(frozen=True)
class _Cure:
    what: str
    change: Change
    remedy: str


def _cures(conversation: Conversation, template: ChatTemplate, spec: EvaluationSpec) -> list[_Cure]:
    """Return what may be at fault in a conversation, the likeliest first."""
    found = []
    system = [m["content"] for m in conversation.messages if m["role"] == "system"]
    if system and system == [spec.system_instruction]:
        what = "the system message (evaluation.system_instruction)"
        found.append(_Cure(what, _without_system, "leave evaluation.system_instruction empty"))
    elif system:
        what = "the system message (the task's description"
        what += " after evaluation.system_instruction)" if spec.system_instruction else ")"
        found.append(_Cure(what, _without_system, _PLAIN))
    turns = [m for m in conversation.messages if m["role"] == "user"]
    if len(turns) > 1:
        what = "worked examples as turns (evaluation.fewshot_as_multiturn)"
        remedy = "set evaluation.fewshot_as_multiturn to False"
        found.append(_Cure(what, _merged, remedy))
        remedy = f"set num_fewshot of {_LINES} to 0"
        found.append(_Cure("the turns of worked examples", _without_shots, remedy))
    if not conversation.opens_answer:
        what = "the beginning of the answer (the task's gen_prefix)"
        found.append(_Cure(what, _without_prefix, _PLAIN))
    return found


def _heals(conversation: Conversation, changes: Sequence[Change], template: ChatTemplate) -> bool:
    changed: Conversation | None = conversation
    for change in changes:
        changed = change(changed) if changed is not None else None
    return changed is not None and _fault(changed, template, read=True) is None


def _without_system(conversation: Conversation) -> Conversation | None:
    left = tuple(m for m in conversation.messages if m["role"] != "system")
    return conversation.model_copy(update={"messages": left}) if left else None


def _without_prefix(conversation: Conversation) -> Conversation | None:
    if conversation.opens_answer or len(conversation.messages) < 2:
        return None
    left = conversation.messages[:-1]
    return Conversation(messages=left, opens_answer=True)


def _without_shots(conversation: Conversation) -> Conversation | None:
    head, turns, tail = _parts(conversation)
    return conversation.model_copy(update={"messages": (*head, *turns[-1:], *tail)})


def _merged(conversation: Conversation) -> Conversation | None:
    """Return a conversation with one user message, as lm-eval makes it of the turns."""
    head, turns, tail = _parts(conversation)
    text = "".join(message["content"] for message in turns)
    one = {"role": "user", "content": text}
    return conversation.model_copy(update={"messages": (*head, one, *tail)})


_Messages = tuple[dict[str, Any], ...]


def _parts(conversation: Conversation) -> tuple[_Messages, _Messages, _Messages]:
    """Return the system message, the turns with the question last, and the answer's beginning."""
    messages = conversation.messages
    first = 1 if messages[0]["role"] == "system" else 0
    last = len(messages) if conversation.opens_answer else len(messages) - 1
    return messages[:first], messages[first:last], messages[last:]


def _roles(conversation: Conversation) -> str:
    """Return the order of roles, repeated pairs counted."""
    roles = [message["role"] for message in conversation.messages]
    shown = []
    place = 0
    while place < len(roles):
        pairs = 0
        while roles[place + 2 * pairs : place + 2 * pairs + 2] == ["user", "assistant"]:
            pairs += 1
        if pairs > 1:
            shown.append(f"{pairs} times user and assistant")
            place += 2 * pairs
        else:
            shown.append(roles[place])
            place += 1
    return ", ".join(shown)
