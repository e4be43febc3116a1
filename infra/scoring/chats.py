"""Chats with functions: the question, the calls, what is handed back for them, the final answer.

Each step is a question of its own, asked, kept and found again like all others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from infra.scoring.protocol import ChatGeneration, Reply

_BEGINNING = '{"messages": '
"""How the prompt of a row with functions begins."""

_PARTS = {"messages", "tools"}

Step: TypeAlias = dict[str, Any]
"""What was said: `content` and `calls`, each a `name` and `arguments` as they came."""

Ask: TypeAlias = Callable[[Sequence[tuple[int, ChatGeneration]]], list[Reply]]
"""From questions, each with the number of the chat that it belongs to, to their answers."""


def is_chat(text: str) -> bool:
    """Return whether a prompt is a chat as JSON, and no question about one."""
    return text.startswith(_BEGINNING) and _is_whole(text)


def holds_chat(text: str) -> bool:
    """Return whether a prompt is a chat as JSON, maybe with an instruction before it."""
    before, mark, after = text.partition(_BEGINNING)
    return bool(mark) and (not before or before.endswith(("\n", " "))) and _is_whole(mark + after)


def _is_whole(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.keys() == _PARTS


def with_system(chat: str, system: str) -> str:
    """Return a chat as JSON with a system message before everything else; empty adds none."""
    value = json.loads(chat)
    if system:
        value["messages"] = [{"role": "system", "content": system}, *value["messages"]]
    return json.dumps(value, ensure_ascii=False)


def unrendered(history: Sequence[Mapping[str, str]]) -> str:
    """Return the chat that a conversation ends with; its system message comes first."""
    system = [one["content"] for one in history if one["role"] == "system"]
    return with_system(history[-1]["content"], "\n\n".join(system))


def chat_of(context: str) -> str:
    """Return the chat of a prompt; what stands before it becomes a system message."""
    before, mark, after = context.partition(_BEGINNING)
    return with_system(mark + after, before.strip())


def converse(
    chats: Sequence[str], settings: Sequence[str], results: Sequence[str], ask: Ask
) -> tuple[list[str], list[Reply]]:
    """Put chats, hand back what their calls return, and return what was said in each step.

    Args:
        chats: Messages and functions, as JSON.
        settings: The rest of each request, as JSON.
        results: What is to be handed back in each, as JSON: `name`, `arguments`, `content`.
        ask: Asks one step of some chats.

    Returns:
        The steps of each chat, as JSON, and the last reply of each.
    """
    first = [
        ChatGeneration(chat.encode(), settings[number]) for number, chat in enumerate(chats)
    ]  # fmt: skip
    last = ask([*enumerate(first)])
    back = [json.loads(one or "[]") for one in results]
    steps = [[_step_of(reply, one)] for reply, one in zip(last, back, strict=True)]
    second = [
        (number, ChatGeneration(going_on.encode(), settings[number]))
        for number, (chat, [said]) in enumerate(zip(chats, steps, strict=True))
        if (going_on := _going_on(chat, said, back[number]))
    ]
    if second:
        for (number, _), reply in zip(second, ask(second), strict=True):
            steps[number].append(_step_of(reply, []))
            last[number] = reply
    return [json.dumps({"steps": one}, ensure_ascii=False) for one in steps], last


def _step_of(reply: Reply, results: Sequence[Mapping[str, Any]]) -> Step:
    """Return what a reply says.

    An empty one stands in for a server that nothing is sent to, to count what would be: then every
    call is taken for made that returns something.
    """
    if text := reply[0]:
        step: Step = json.loads(str(text))
        return step
    calls = [{"name": one["name"], "arguments": json.dumps(one["arguments"])} for one in results]
    return {"content": "", "calls": calls}


def _going_on(chat: str, said: Step, results: Sequence[Mapping[str, Any]]) -> str:
    """Return a chat with the calls that were made and what they return; empty if it ends there."""
    handed = _handed_back(said["calls"], results) if results and said["calls"] else None
    if handed is None:
        return ""
    value = json.loads(chat)
    names = [f"call{number:05d}" for number in range(len(handed))]
    made = [
        {"id": name, "type": "function", "function": call}
        for name, call in zip(names, said["calls"], strict=True)
    ]
    value["messages"] += [
        {"role": "assistant", "content": said["content"], "tool_calls": made},
        *(
            {"role": "tool", "tool_call_id": name, "name": call["name"], "content": content}
            for name, call, content in zip(names, said["calls"], handed, strict=True)
        ),
    ]
    return json.dumps(value, ensure_ascii=False)


def _handed_back(
    calls: Sequence[Mapping[str, str]], results: Sequence[Mapping[str, Any]]
) -> list[str] | None:
    """Return what each call returns: the result of a call of that function, the likest first.

    None if a call is not to be read, or returns nothing.
    """
    left = list(results)
    handed = []
    for call in calls:
        arguments = _object(call["arguments"])
        of_function = [one for one in left if one["name"] == call["name"]]
        if arguments is None or not of_function:
            return None
        likest = max(of_function, key=lambda one: _alike(one["arguments"], arguments))
        left.remove(likest)
        handed.append(str(likest["content"]))
    return handed


def _alike(one: Mapping[str, Any], other: Mapping[str, Any] | None) -> int:
    return sum(other is not None and other.get(name) == value for name, value in one.items())


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
