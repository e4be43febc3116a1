"""Which of vLLM's parsers reads the calls that a model's chat template teaches it to write.

A template shows the model what a call looks like, in its instructions or where it writes earlier
ones. These marks tell the parser; what vLLM's documentation recommends for a family is what its
template says.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.port import ToolParser
from infra.models.chat_template import text_for_tools, writes_functions


class _Rule(NamedTuple):
    parser: str
    marks: tuple[str, ...]
    """All of them stand in the template."""


_RULES = (
    _Rule("deepseek_v32", ("<\uff5cDSML\uff5c",)),
    _Rule("deepseek_v3", ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "```json")),
    _Rule("deepseek_v31", ("<\uff5ctool\u2581calls\u2581begin\uff5c>",)),
    _Rule("kimi_k2", ("<|tool_calls_section_begin|>",)),
    _Rule("minimax_m2", ("<minimax:tool_call>",)),
    _Rule("seed_oss", ("<seed:tool_call>",)),
    _Rule("glm45", ("<tool_call>", "<arg_key>")),
    _Rule("qwen3_coder", ("<tool_call>", "<function=", "<parameter=")),
    _Rule("granite4", ("<|start_of_role|>", "<tool_call>")),
    _Rule("hermes", ("<tool_call>", "arguments")),
    _Rule("openai", ("<|channel|>", "functions.")),
    _Rule("lfm2", ("<|tool_call_start|>",)),
    _Rule("functiongemma", ("<start_function_call>",)),
    _Rule("cohere_command3", ("<|START_ACTION|>",)),
    _Rule("mistral", ("[TOOL_CALLS]",)),
    _Rule("granite", ("<|start_of_role|>", "<|tool_call|>")),
    _Rule("phi4_mini_json", ("<|tool|>",)),
    _Rule("internlm", ("<|plugin|>",)),
    _Rule("llama4_pythonic", ("<|python_start|>",)),
    _Rule("olmo3", ("<function_calls>",)),
    _Rule("jamba", ("<tool_calls>",)),
    _Rule("pythonic", ("[func_name1(",)),
    _Rule("llama3_json", ('"parameters": dictionary of argument name',)),
    _Rule("llama3_json", ("<|python_tag|>",)),
)
"""The first one counts whose marks stand in the template."""

KNOWN = tuple(dict.fromkeys(rule.parser for rule in _RULES))


def parser_of(serving: ServingSpec, checkpoint: Path) -> ToolParser:
    """Return the parser of a model's calls.

    Args:
        serving: It may name one.
        checkpoint: Folder with the chat template.

    Raises:
        Unservable: There is no template that writes functions, or nobody knows its marks.
    """
    text = text_for_tools(checkpoint)
    if not writes_functions(checkpoint):
        raise Unservable(
            f"The chat template in {checkpoint} writes no functions."
            if text
            else f"The tokenizer in {checkpoint} has no chat template.",
            cause="The model would never see what it may call: it was not trained to, or its "
            "template is another one than its makers'.",
            remedy="Take a model whose template writes `tools`, put such a template into its "
            "folder as chat_template.jinja, or leave tasks with functions out of evaluation.tasks.",
        )
    if serving.tool_parser:
        return ToolParser(serving.tool_parser, "serving.tool_parser names it")
    for rule in _RULES:
        if all(mark in text for mark in rule.marks):
            return ToolParser(rule.parser, f"the chat template writes {' and '.join(rule.marks)}")
    raise Unservable(
        f"Nobody knows what reads calls out of the answers of {checkpoint}.",
        cause="Its chat template writes functions, and none of the marks by which Assay tells "
        f"vLLM's parsers ({', '.join(KNOWN)}).",
        remedy="Name the parser that its makers recommend as serving.tool_parser, or leave tasks "
        "with functions out of evaluation.tasks.",
    )
