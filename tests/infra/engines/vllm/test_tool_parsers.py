"""A chat template's own marks tell what reads the calls that it teaches a model to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.vllm.tool_parsers import parser_of

WRITES = "{%- for tool in tools -%}{{ tool | tojson }}{%- endfor -%}"
TEMPLATES = {
    "hermes": '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n',
    "qwen3_coder": "<tool_call>\n<function=f>\n<parameter=p>\n arguments",
    "glm45": "<tool_call>{name}\n<arg_key>{key}</arg_key> arguments",
    "mistral": "[AVAILABLE_TOOLS] [TOOL_CALLS]",
    "llama3_json": 'Respond in the format {"name": function name, "parameters": dictionary of '
    "argument name and its value}. <|python_tag|>",
    "pythonic": "[func_name1(params_name1=params_value1, params_name2=params_value2)]",
    "granite": "<|start_of_role|>system<|end_of_role|> respond with <|tool_call|>",
    "granite4": "<|start_of_role|>system<|end_of_role|> <tool_call> arguments </tool_call>",
    "deepseek_v3": "<\uff5ctool\u2581calls\u2581begin\uff5c> ```json",
    "deepseek_v31": "<\uff5ctool\u2581calls\u2581begin\uff5c>",
    "kimi_k2": "<|tool_calls_section_begin|>",
    "openai": "<|channel|>commentary to=functions.f",
}


def model(folder: Path, template: object) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


@pytest.mark.parametrize("parser", TEMPLATES)
def test_each_family_is_known_by_its_marks(tmp_path: Path, parser: str) -> None:
    found = parser_of(ServingSpec(), model(tmp_path, WRITES + TEMPLATES[parser]))
    assert found.name == parser
    assert "the chat template writes" in found.because


def test_the_template_with_functions_counts_and_the_spec_before_it(tmp_path: Path) -> None:
    named = [
        {"name": "default", "template": "{{ messages }}"},
        {"name": "tool_use", "template": WRITES + TEMPLATES["mistral"]},
    ]
    folder = model(tmp_path, named)
    assert parser_of(ServingSpec(), folder).name == "mistral"
    assert parser_of(ServingSpec(tool_parser="hermes"), folder).name == "hermes"
    (folder / "chat_template.jinja").write_text(WRITES + TEMPLATES["granite"])
    assert parser_of(ServingSpec(), folder).name == "granite"


@pytest.mark.parametrize("template", [None, "", "{{ messages }}"])
def test_a_template_that_writes_no_functions_is_refused(tmp_path: Path, template: object) -> None:
    for serving in (ServingSpec(), ServingSpec(tool_parser="hermes")):
        with pytest.raises(Unservable, match=r"writes no functions|has no chat template") as no:
            parser_of(serving, model(tmp_path, template))
        assert "chat_template.jinja" in no.value.remedy


def test_marks_that_nobody_knows_are_refused_unless_a_parser_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path, WRITES + "<call>")
    with pytest.raises(Unservable, match="Nobody knows what reads calls") as refusal:
        parser_of(ServingSpec(), folder)
    assert "serving.tool_parser" in refusal.value.remedy
    assert parser_of(ServingSpec(tool_parser="house_parser"), folder).name == "house_parser"
