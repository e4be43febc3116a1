"""Conversations through the model's own chat template, and what the template passes over.

A template is free to say nothing of a role it does not know, of tools, of thoughts in earlier
turns; and it may trim, escape and rewrite what it does say. So a message is not sought in the text
that comes out: a second rendering of the same conversation, with a mark in place of each content,
tells what the template makes use of at which place. Conversations of the same shape need one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError, UndefinedError

from infra.contracts.errors import CalibrationError
from infra.conversations.forms import REASONING, Conversation, Message
from infra.models.chat_template import ChatTemplate

_TURNS = tuple(enumerate(("user", "assistant")))
"""The simplest conversation, which every chat template can render."""

_MARK = "Qassay"
"""Begins a mark: letters alone, so that no template escapes or splits it."""

_CONTENT, _CALLS, _THOUGHTS = "text", "tool calls", "reasoning"


@dataclass(frozen=True)
class PassedOver:
    """A message of which nothing is in the rendered text."""

    number: int
    """In its conversation, from 1."""
    role: str


@dataclass(frozen=True)
class _Seen:
    """What a template makes of conversations of one shape."""

    passed_over: tuple[PassedOver, ...]
    left_out: tuple[str, ...]
    """Parts that are left out, of messages that are not passed over; for people."""


class Renderer:
    """Renders conversations and keeps account of what was left out."""

    def __init__(self, template: ChatTemplate, name: str) -> None:
        """Take a template; nothing is rendered yet.

        Args:
            template: Of the model.
            name: The model, for people.
        """
        self._template = template
        self._name = name
        self._shapes: dict[object, _Seen] = {}
        self._in_parts = False
        self.left_out: Counter[str] = Counter()
        """What the template leaves out → conversations it concerns."""

    def check(self) -> None:
        """Refuse a template that cannot render the simplest conversation.

        Raises:
            CalibrationError: It cannot; no conversation is to blame.
        """
        question, answer = ({"role": role, "content": _mark(at)} for at, role in _TURNS)
        try:
            seen = _mark(0) in self._template.render([question, answer])
            self._in_parts = not seen and self._takes_parts([question, answer])
            return
        except Exception as error:  # a template is a program: it can fail in any way
            failed = error
        self._in_parts = self._takes_parts([question, answer])
        if not self._in_parts:
            try:  # some want a system message first
                self._template.render([{"role": "system", "content": "Hi"}, question, answer])
            except Exception:
                raise self._fault(failed) from failed

    def render(
        self, talk: Conversation, messages: Sequence[Message] | None = None, **how: Any
    ) -> str:
        """Return a conversation as the text that the model reads.

        Args:
            talk: The conversation.
            messages: Its first messages, if not all of them.
            how: See `ChatTemplate.render`.

        Raises:
            CalibrationError: The template refuses it, or has a fault.
        """
        try:
            text = self._try(talk.messages if messages is None else messages, talk.tools, **how)
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise CalibrationError(
                f"{talk.place} holds half of a character: {half}.",
                cause="It was cut within an emoji or another character of two halves.",
                remedy="Mend or remove it.",
            ) from error
        except Exception as error:  # a template is a program: it can fail in any way
            raise self._blamed(error, talk.place) from error
        return text

    def passed_over(self, talk: Conversation) -> tuple[PassedOver, ...]:
        """Return the messages of which the rendered text holds nothing.

        What is left out of messages that it does hold is counted in `left_out`.
        """
        shape = tuple(_shape(message) for message in talk.messages), bool(talk.tools)
        if shape not in self._shapes:
            self._shapes[shape] = self._look(talk)
        seen = self._shapes[shape]
        self.left_out.update(seen.left_out)
        return seen.passed_over

    def _try(
        self, messages: Sequence[Message], tools: list[dict[str, Any]] | None, **how: Any
    ) -> str:
        """Render with arguments of calls as objects, or as texts where the template wants those."""
        messages = [_in_parts(message) for message in messages] if self._in_parts else messages
        called = any(_arguments(message) for message in messages)
        try:
            text = self._template.render(messages, tools=tools, **how)
        except Exception:
            if not called:
                raise
            return self._template.render(_with_texts(messages), tools=tools, **how)
        # A template that joins texts writes an object as Python does, which is no JSON.
        if called and any(repr(one) in text for m in messages for one in _arguments(m)):
            return self._template.render(_with_texts(messages), tools=tools, **how)
        return text

    def _look(self, talk: Conversation) -> _Seen:
        marked = [_marked(message, at) for at, message in enumerate(talk.messages)]
        tools = [_TOOL] if talk.tools else None
        try:
            text = self._try([message for message, _ in marked], tools)
        except Exception:
            return self._look_at_each(talk)
        passed, left = [], dict[str, None]()
        for at, (message, marks) in enumerate(marked):
            missing = [what for what, mark in marks.items() if mark not in text]
            if marks and len(missing) == len(marks):
                passed.append(PassedOver(at + 1, message["role"]))
            elif missing:
                kept = next(what for what in marks if what not in missing)
                left |= {
                    f"{what} of role '{message['role']}' beside {kept}": None for what in missing
                }
        if tools and _TOOL["function"]["name"] not in text:
            left["tools"] = None
        return _Seen(tuple(passed), tuple(left))

    def _look_at_each(self, talk: Conversation) -> _Seen:
        """Change one content at a time: a template that checks contents takes no marks."""
        text = self._try(talk.messages, talk.tools)
        passed = []
        for at, message in enumerate(talk.messages):
            if not message["content"].strip() or message.get("tool_calls"):
                continue
            changed = [*talk.messages]
            changed[at] = message | {"content": f"{message['content']} {_mark(at)}"}
            # Where it refuses the change it looks at the content, and does not pass over it.
            with suppress(Exception):
                if self._try(changed, talk.tools) == text:
                    passed.append(PassedOver(at + 1, message["role"]))
        return _Seen(tuple(passed), ())

    def _takes_parts(self, messages: Sequence[Message]) -> bool:
        """Return whether the template wants content as a list of parts, as those for images do."""
        try:
            text = self._template.render([_in_parts(message) for message in messages])
        except Exception:
            return False
        return str(messages[0]["content"]) in text

    def _blamed(self, error: Exception, place: str) -> CalibrationError:
        """Return what to say of a failure: is it the conversation, or the template?"""
        cause = _reason(error)
        if isinstance(error, UndefinedError) and cause.endswith("is undefined"):
            return self._fault(error)
        return CalibrationError(
            f"{place}: the model's chat template refuses this conversation.",
            cause=cause,
            remedy="Change or remove it. Templates often want user and assistant in turn, "
            "and some know no system message.",
        )

    def _fault(self, error: Exception) -> CalibrationError:
        line = getattr(error, "lineno", None)
        where = f" (line {line} of the template)" if line else ""
        return CalibrationError(
            f"The chat template of the model in {self._name} has a fault{where}: {_reason(error)}.",
            cause="It fails on the simplest conversation, or names what does not exist; no "
            "conversation of yours is to blame.",
            remedy="Copy chat_template.jinja or tokenizer_config.json of the model again, or give "
            "what it asks for in evaluation.chat_template_kwargs.",
        )


_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": f"{_MARK}tool",
        "description": "Adds numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "description": "A number."}},
            "required": ["a"],
        },
    },
}


def _mark(number: int) -> str:
    return f"{_MARK}{number}x"


def _marked(message: Message, at: int) -> tuple[Message, dict[str, str]]:
    """Return a message with marks in place of what it says: part → mark."""
    marked, marks = dict(message), dict[str, str]()
    if message["content"].strip():
        marks[_CONTENT] = marked["content"] = _mark(at)
    for key in REASONING:
        if isinstance(message.get(key), str) and message[key].strip():
            marks[_THOUGHTS] = marked[key] = f"{_MARK}thought{at}x"
    if calls := message.get("tool_calls"):
        marks[_CALLS] = f"{_MARK}call{at}x"
        marked["tool_calls"] = [
            call | {"function": {"name": marks[_CALLS], "arguments": {"a": 1}}} for call in calls
        ]
    return marked, marks


def _shape(message: Message) -> object:
    marks = tuple(_marked(message, 0)[1])
    others = {"role", "content", "tool_calls", "name", "tool_call_id", *REASONING}
    calls = len(message.get("tool_calls", ()))
    return message["role"], marks, calls, tuple(sorted(set(message) - others))


def _in_parts(message: Message) -> Message:
    return message | {"content": [{"type": "text", "text": message["content"]}]}


def _arguments(message: Message) -> Iterator[Mapping[str, Any]]:
    for call in message.get("tool_calls", ()):
        if isinstance(given := call["function"]["arguments"], dict) and given:
            yield given


def _with_texts(messages: Sequence[Message]) -> list[Message]:
    """Return messages with the arguments of their calls as JSON text, as OpenAI's API has them."""

    def text(call: Mapping[str, Any]) -> dict[str, Any]:
        function = call["function"]
        given = function["arguments"]
        written = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        return {**call, "function": {**function, "arguments": written}}

    return [
        {**message, "tool_calls": [text(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _reason(error: Exception) -> str:
    kind = "" if type(error) in {TemplateError, ValueError, TypeError} else type(error).__name__
    message = str(getattr(error, "message", None) or error).partition("\n")[0].rstrip(".")
    return f"{kind}: {message}" if kind and not isinstance(error, TemplateError) else message
