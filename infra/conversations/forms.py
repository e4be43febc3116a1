"""One row of a dataset as a conversation, in whichever of the usual forms it is written.

Read is what can mean only one thing:

    messages               role and content, as transformers takes them; `tools` beside them
    conversations          ShareGPT: `from` and `value`
    a bare list            of messages
    instruction, output    Alpaca, with `input`, `system` and `history`
    prompt, completion     texts, or lists of messages

Other rows are refused by their name, with a command that converts them: see `conversions.py`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from infra.contracts.errors import CalibrationError
from infra.contracts.specs import CalibrationSpec

Message = dict[str, Any]
EXAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
SHAPE = f"A conversation is {EXAMPLE}."

DEFAULT_FIELD = CalibrationSpec.model_fields["messages_field"].default
SHAREGPT_ROLES = {
    "human": "user", "user": "user",
    "gpt": "assistant", "assistant": "assistant", "bot": "assistant", "model": "assistant",
    "chatgpt": "assistant", "chatbot": "assistant",
    "system": "system",
    "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
_CALL = "function_call"

_LISTS = (DEFAULT_FIELD, "conversations", "conversation")
LISTS = frozenset(_LISTS)
"""Columns that hold messages."""
_ALPACA = ("instruction", ("output", "response"), ("input", "context"))
_COMPLETION = ("prompt", ("completion", "response"))
PAIRS = (
    ("question", "answer"), ("query", "response"), ("question", "response"), ("query", "answer"),
    ("input", "output"), ("input", "target"), ("source", "target"), ("user", "assistant"),
)  # fmt: skip
"""Columns that are most often a question and its answer."""
ALONE = ("text", "prompt", "question", "instruction", "content", "query")
"""Columns that are most often a text of their own."""
COLUMNS = frozenset(
    [*_LISTS, "instruction", "output", "completion", "chosen", "rejected"]
    + [name for pair in PAIRS for name in pair] + [*ALONE]
)  # fmt: skip
"""By which a table is recognized as one of conversations."""
_ATTACHED = ("image", "images", "video", "videos", "audio", "audios")

Convert = Callable[[str], str]
"""Arguments of the conversion → the sentence with its whole command."""


@dataclass(frozen=True)
class Conversation:
    """Messages as a chat template takes them."""

    place: str
    """`Line 3 of calibration.jsonl`."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    """Functions that the model may call, each `{"type": "function", "function": {…}}`."""

    @property
    def texts(self) -> list[str]:
        """What was said, thoughts included, message by message."""
        said = (m.get(key) for m in self.messages for key in ("content", *REASONING))
        return [text for text in said if isinstance(text, str)]


REASONING = ("reasoning_content", "reasoning", "thinking")


_HEAD = re.compile(
    r"(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|^### ?)"
    r"(system|user|assistant|model|tool|human|instruction|response)"
    r"(?:<\|end_header_id\|>|:)?[ \t]*\n*",
    re.I | re.M,
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|end_of_text|endoftext|begin_of_text)\|>|<end_of_turn>|<eos>|<bos>|</?s>"
)
_WRITTEN_ROLES = {"instruction": "user", "response": "assistant"}


def turns_of(text: str) -> list[Message]:
    """Return the messages of a text that a usual chat template has written; none if none has."""
    parts = _HEAD.split(text)[1:]
    turns = zip(parts[::2], parts[1::2], strict=True)
    found = ((role.lower(), _END.sub("", said).strip()) for role, said in turns)
    roles = SHAREGPT_ROLES | _WRITTEN_ROLES
    return [{"role": roles.get(role, role), "content": said} for role, said in found if said]


def is_message(value: Any) -> bool:
    """Return whether this is, or should be, one message of a conversation."""
    if not isinstance(value, Mapping) or not LISTS.isdisjoint(value):
        return False
    return "role" in value or "from" in value


def read_row(row: Any, field: str, place: str, convert: Convert) -> Conversation:
    """Return the conversation of a row.

    Args:
        row: A JSON value, or the columns of a table.
        field: Column with the messages. If it is the default one and missing, the other forms are
            looked for.
        place: Where the row stands, for people.
        convert: Makes the command that converts what is refused.

    Raises:
        CalibrationError: It is none; the error says what it is instead.
    """
    reader = _Row(place, convert)
    if isinstance(row, list):
        return Conversation(place, reader.messages(row))
    if not isinstance(row, dict):
        reader.refuse(f"is a JSON {_kind(row)}, not an object")
    for name in _ATTACHED:
        if row.get(name):
            reader.attached(f"a column {name!r}", name)
    found = reader.conversation(row, field)
    system = row.get("system")
    if isinstance(system, str) and system.strip() and found[0]["role"] != "system":
        found = [{"role": "system", "content": system}, *found]
    return Conversation(place, found, reader.tools(row))


class _Row:
    def __init__(self, place: str, convert: Convert) -> None:
        self._place = place
        self._convert = convert

    def refuse(self, fact: str, remedy: str = "", cause: str = SHAPE) -> NoReturn:
        remedy = remedy or "Convert the data, or set quantization.calibration.messages_field."
        raise CalibrationError(f"{self._place} {fact}.", cause=cause, remedy=remedy)

    def attached(self, what: str, kind: str) -> NoReturn:
        self.refuse(
            f"holds {what}, and calibration reads text alone",
            f"{self._convert('--text-only')} It leaves such conversations out.",
            cause=f"Only the language model is calibrated; {kind} would have to be dropped.",
        )

    def conversation(self, row: Mapping[str, Any], field: str) -> list[Message]:
        names = [field] if field != DEFAULT_FIELD else list(_LISTS)
        for name in names:
            if name in row and (name == field or row[name]):
                return self.messages(row[name], name)
        if field != DEFAULT_FIELD:
            self._unknown(row, field)
        question, answers, inputs = _ALPACA
        if question in row and (answer := _first(row, answers)):
            return self._alpaca(row, _first(row, inputs), answer)
        question, answers = _COMPLETION
        if question in row and (answer := _first(row, answers)):
            return self._turns(row[question], "user") + self._turns(row[answer], "assistant")
        self._unknown(row, field)

    def messages(self, value: Any, field: str = "") -> list[Message]:
        inside = f" in {field!r}" if field else ""
        value = self._parsed(value, field)
        if not isinstance(value, list) or not value:
            self.refuse(f"has no list of messages{inside}")
        return [self._message(one, number) for number, one in enumerate(value, 1)]

    def tools(self, row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        name = "tools" if row.get("tools") else "functions"
        found = self._parsed(row.get(name), name)
        if isinstance(found, dict):
            found = [found]
        if not found:
            return None
        if not isinstance(found, list):
            self.refuse(f"has no list of functions in {name!r}", _TOOLS, cause="")
        return [self._tool(self._parsed(one, name), name) for one in found]

    def _tool(self, tool: Any, name: str) -> dict[str, Any]:
        if isinstance(tool, dict):
            if isinstance(tool.get("function"), dict) and tool["function"].get("name"):
                return tool
            if tool.get("name"):
                bare = {key: part for key, part in tool.items() if key != "type"}
                return {"type": "function", "function": bare}
        self.refuse(f"has a function without a name in {name!r}", _TOOLS, cause="")

    def _message(self, message: Any, number: int) -> Message:
        if not isinstance(message, dict):
            self.refuse(f"has a message without text in role and content: number {number}")
        if "role" not in message and isinstance(message.get("from"), str):
            return self._sharegpt(message, number)
        found = {key: part for key, part in message.items() if part is not None}
        role = found.get("role")
        if not isinstance(role, str) or not role.strip():
            self.refuse(f"has a message without text in role and content: number {number}")
        if isinstance(called := found.pop(_CALL, None), dict):
            found["tool_calls"] = [called]
        calls = self._parsed(found.pop("tool_calls", None), "tool_calls")
        if calls:
            found["tool_calls"] = [self._call(call, number) for call in _listed(calls)]
        content = found.get("content")
        if content is None and not (calls or any(found.get(key) for key in REASONING)):
            self.refuse(f"has a message without text in role and content: number {number}")
        found["content"] = self._text(content, number)
        return found

    def _sharegpt(self, message: Mapping[str, Any], number: int) -> Message:
        speaker = message["from"]
        value = message.get("value", message.get("content"))
        if value is None:
            self.refuse(f"has a message without text in from and value: number {number}")
        if speaker == _CALL:
            calls = _json(value) if isinstance(value, str) else value
            if isinstance(calls, dict | list):
                called = [self._call(call, number) for call in _listed(calls)]
                return {"role": "assistant", "content": "", "tool_calls": called}
        role = "assistant" if speaker == _CALL else SHAREGPT_ROLES.get(speaker.lower(), speaker)
        more = {key: message[key] for key in REASONING if message.get(key)}
        return {"role": role, "content": self._text(value, number), **more}

    def _call(self, call: Any, number: int) -> dict[str, Any]:
        """Return a call as transformers recommends it: a function, its arguments an object."""
        function = call.get("function", call) if isinstance(call, dict) else {}
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            self.refuse(
                f"calls a function without a name in message {number}",
                'A call is {"type": "function", "function": {"name": "…", "arguments": {…}}}.',
                cause="",
            )
        arguments = function.get("arguments", function.get("parameters", {}))
        if isinstance(arguments, str):
            parsed = _json(arguments) if arguments.strip() else {}
            arguments = parsed if isinstance(parsed, dict) else arguments
        rest = {key: call[key] for key in ("id", "index") if call.get(key) is not None}
        return {
            **rest,
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }

    def _text(self, content: Any, number: int) -> str:
        """Return content as text: parts of it are lines, as the server joins them."""
        if content is None:
            return ""
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            self.refuse(f"has {_kind(content)} for content in message {number}, not text")
        texts = []
        for part in content:
            if isinstance(part, str):
                texts.append(part)
                continue
            kind = part.get("type", "text") if isinstance(part, dict) else _kind(part)
            if kind in {"text", "input_text", "output_text"} and isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                self.attached(f"a part of type {kind!r} in message {number}", f"a part {kind!r}")
        return "\n".join(texts)

    def _alpaca(self, row: Mapping[str, Any], given: str, answer: str) -> list[Message]:
        found = []
        for turn in row.get("history") or ():
            if not isinstance(turn, list) or len(turn) != 2:
                self.refuse("has a turn in 'history' that is no pair")
            found += self._turns(turn[0], "user") + self._turns(turn[1], "assistant")
        instruction = row["instruction"]
        more = row.get(given) if given else ""
        if isinstance(more, str) and more.strip():
            instruction = f"{instruction}\n\n{more}" if instruction else more
        return found + self._turns(instruction, "user") + self._turns(row[answer], "assistant")

    def _turns(self, value: Any, role: str) -> list[Message]:
        value = [value] if isinstance(value, dict) else value
        if isinstance(value, list):
            return self.messages(value)
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"has no text for the {role}")
        return [{"role": role, "content": value}]

    def _parsed(self, value: Any, field: str) -> Any:
        """Return what a column holds; tables often keep lists as JSON text."""
        if not isinstance(value, str) or not value.strip():
            return value
        found = _json(value)
        if found is None and value.lstrip()[0] in "[{":
            found = _literal(value)
        if found is None and value.lstrip()[0] in "[{":
            self.refuse(
                f"has text in {field!r} that is not JSON: {value.strip()[:60]!r}",
                "Write it with json.dumps.",
                cause="",
            )
        return value if found is None else found

    def _unknown(self, row: Mapping[str, Any], field: str) -> NoReturn:
        has = f"has no field {field!r}; it has {', '.join(map(str, row)) or 'none'}"
        chats = [
            name for name, value in row.items()
            if isinstance(value, list) and value and is_message(value[0])
        ]  # fmt: skip
        if {"chosen", "rejected"} <= set(row):
            self.refuse(
                f"{has}: preference data, two answers to each question",
                f"{self._convert('--chosen')} It keeps the preferred answers.",
            )
        if chats:
            self.refuse(has, f"Set quantization.calibration.messages_field={chats[0]}.")
        texts = {name for name, value in row.items() if isinstance(value, str) and value.strip()}
        for question, answer in PAIRS:
            if {question, answer} <= texts:
                self.refuse(
                    f"{has}: questions and answers in columns of their own",
                    self._convert(f"--user {question} --assistant {answer}"),
                )
        for name in ALONE:
            if name in texts and len(turns_of(row[name])) > 1:
                self.refuse(
                    f"{has}: texts that a chat template has written already",
                    self._convert(f"--rendered {name}"),
                )
            if name in texts:
                self.refuse(
                    f"{has}: texts and no conversations",
                    f"{self._convert(f'--user {name}')} Each text becomes a question.",
                )
        self.refuse(has)


_TOOLS = (
    'Each function is {"type": "function", "function": {"name": "…", "parameters": {…}}}; '
    "mend the column or remove it."
)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _literal(text: str) -> Any:
    """Return a list or object as Python writes it: pandas does, into CSV."""
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, list | dict) else None


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if row.get(name)), "")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")
