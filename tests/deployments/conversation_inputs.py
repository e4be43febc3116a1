"""Conversations as people have them, and templates that make little of them."""

from __future__ import annotations

import json
from typing import Any

TEMPLATE = (
    "{%- if tools -%}{{- '<|im_start|>system\\nTools: ' + tools|tojson + '<|im_end|>\\n' -}}"
    "{%- endif -%}{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a patient helper.<|im_end|>\\n' -}}{%- endif -%}"
    "{%- for m in messages -%}{%- if m.role in ['user', 'system', 'assistant', 'tool'] -%}"
    "{{- '<|im_start|>' + m.role -}}{%- if m.content -%}{{- '\\n' + m.content -}}{%- endif -%}"
    "{%- for t in m.tool_calls or [] -%}"
    "{{- '\\n<tool_call>\\n' + t.function|tojson + '\\n</tool_call>' -}}{%- endfor -%}"
    "{{- '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""Shows tools and calls, has a system prompt of its own, passes over roles it does not know."""

WITHOUT_TOOLS = TEMPLATE.replace("{%- if tools -%}", "{%- if false -%}")
CALLS_IF_DEFINED = TEMPLATE.replace(
    "{%- for t in m.tool_calls or [] -%}",
    "{%- if m.tool_calls is defined -%}{{- m.tool_calls[0].function.name + '' -}}{%- endif -%}"
    "{%- for t in m.tool_calls or [] -%}",
)
"""Takes for granted that a list of calls holds one."""
DATED = (
    "{{- '<|im_start|>system\\nToday is ' + strftime_now('%d %b %Y %H:%M') + '<|im_end|>\\n' -}}"
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}{{- 'day ' * strftime_now('%d')|int -}}"
)

PAIRS = [
    (
        f"Mira packs {n} crates with {n - 8} lamps each and gives 3 lamps away. How many lamps are "
        "left? Please write the steps in short sentences, and check the sum at the end.",
        f"There are {n}*{n - 8} = {n * (n - 8)} lamps. After giving 3 away {n * (n - 8) - 3} are "
        f"left. Check: {n * (n - 8) - 3}+3 = {n * (n - 8)}.",
    )
    for n in range(11, 51)
]
TOOL = {
    "name": "multiply",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}


def messages(question: str, answer: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def with_calls(number: int, arguments: Any) -> dict[str, Any]:
    question, answer = PAIRS[number]
    call = {
        "id": "c0",
        "type": "function",
        "function": {"name": "multiply", "arguments": arguments},
    }
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c0", "content": str(number)},
    ]
    first, last = messages(question, answer)
    return {"messages": [first, *turns, last]}


def lines(rows: list[Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)
