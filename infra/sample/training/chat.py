"""Qwen2.5's chat format, with tools: the template, and documents that are rendered as it does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from infra.sample.training.formats import (
    END_OF_TEXT,
    TURN_END,
    TURN_START,
    Document,
    Segment,
    Weight,
)

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_TOOLS = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_TOOLS_END = (
    "</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}
"""  # noqa: E501
"""Word for word as Qwen2.5 has it, and with the switch that later models of its makers have."""


def opening(tools: Sequence[dict[str, Any]] = (), system: str = SYSTEM) -> Document:
    """The system turn, with the tools that are offered."""
    if not tools:
        return [Segment(f"{TURN_START}system\n{system}{TURN_END}\n", 0)]
    lines = [Segment(line_of(tool), 0) for tool in tools]
    return [
        Segment(f"{TURN_START}system\n{system}{_TOOLS}", 0),
        *lines,
        Segment(f"{_TOOLS_END}{TURN_END}\n", 0),
    ]


def user(text: str, weight: int = Weight.PROMPT) -> Document:
    """A turn of the user."""
    return [Segment(f"{TURN_START}user\n{text}{TURN_END}\n", weight)]


def handed_back(results: Sequence[str]) -> Document:
    """What tools handed back: a turn of the user, as the template has it."""
    told = "".join(f"\n<tool_response>\n{one}\n</tool_response>" for one in results)
    return [Segment(f"{TURN_START}user{told}{TURN_END}\n", 0)]


def assistant(text: str, weight: int = Weight.TEXT, *, last: bool = True) -> Document:
    """A turn of the assistant; behind the last one the document ends."""
    return [
        Segment(f"{TURN_START}assistant\n", 0),
        Segment(text, weight),
        Segment(TURN_END, Weight.TEXT),
        Segment(END_OF_TEXT if last else "\n", Weight.TEXT if last else 0),
    ]


def calls_text(calls: Sequence[dict[str, Any]]) -> str:
    """Calls as the template writes them."""
    return "\n".join(
        f'<tool_call>\n{{"name": "{one["name"]}", "arguments": '
        f"{json.dumps(one['arguments'], ensure_ascii=False)}}}\n</tool_call>"
        for one in calls
    )


def line_of(tool: dict[str, Any]) -> str:
    """A tool as the template lists it."""
    return json.dumps({"type": "function", "function": tool}, ensure_ascii=False) + "\n"
