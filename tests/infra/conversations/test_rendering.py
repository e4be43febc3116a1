"""What a template makes of conversations, and what it passes over, judged by what it renders."""

from __future__ import annotations

from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.conversations.calibration import load_tokenizer
from infra.conversations.forms import Conversation, read_row
from infra.conversations.rendering import PassedOver, Renderer
from infra.models.chat_template import ChatTemplate
from tests.conftest import MOMENT, ROOT

SAYS = "{{- '<' + m.role + '>' + m.content + '</>' -}}"
EACH = "{%- for m in messages -%}"
TURN = EACH + SAYS + "{%- endfor -%}"
CALLS = "{%- for c in m.tool_calls or [] -%}{{- c.function|tojson -}}{%- endfor -%}"

WITHOUT_THOUGHTS = (  # as Qwen3: thoughts of earlier turns are left out, and text is trimmed
    "{%- for m in messages -%}{%- set content = m.content.split('</think>')[-1].lstrip() -%}"
    "{%- if m.role == 'assistant' and loop.last and m.reasoning_content -%}"
    "{{- '<assistant><think>' + m.reasoning_content.strip() + '</think>' + content -}}"
    "{%- else -%}{{- '<' + m.role + '>' + content|trim -}}{%- endif -%}" + CALLS + "{%- endfor -%}"
)
TEXT_ARGUMENTS = (  # as DeepSeek-R1: arguments are joined as text
    EACH + SAYS + "{%- for c in m.tool_calls or [] -%}"
    "{{- c.function.name + '(' + c.function.arguments + ')' -}}{%- endfor -%}{%- endfor -%}"
)
PRINTED_ARGUMENTS = TEXT_ARGUMENTS.replace(
    " + c.function.arguments + ", " ~ c.function.arguments ~ "
)
CALL_OR_TEXT = (  # as Llama 3.1: a message with calls shows its calls alone
    EACH
    + "{%- if m.tool_calls -%}{{- '<call>' + m.tool_calls[0].function|tojson -}}{%- else -%}"
    + SAYS
    + "{%- endif -%}{%- endfor -%}"
)
JSON_RESULTS = EACH + "{%- if m.role == 'tool' -%}{{- m.content|tojson -}}{%- else -%}" + SAYS + (
    CALLS + "{%- endif -%}{%- endfor -%}"
)  # fmt: skip
PARTS = (
    EACH + "{%- for part in m.content -%}{{- m.role + part['text'] -}}{%- endfor -%}{%- endfor -%}"
)

USER, ANSWER = {"role": "user", "content": "What is 2*3?"}, {"role": "assistant", "content": "6"}
SYSTEM, RESULT = (
    {"role": "system", "content": "Be brief."},
    {"role": "tool", "content": '{"a": "ä"}'},
)
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "function": {"name": "times", "arguments": {"a": "2'3"}}}
]}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "times", "parameters": {}}}]


def only(*roles: str) -> str:
    return EACH + f"{{%- if m.role in {list(roles)} -%}}" + SAYS + "{%- endif -%}{%- endfor -%}"


def renderer(template: str, **variables: Any) -> Renderer:
    tokenizer = load_tokenizer(ROOT / "infra" / "sample" / "model")
    tokenizer.chat_template = template
    return Renderer(ChatTemplate(tokenizer, moment=MOMENT, variables=variables), "the model")


def talk(*messages: dict[str, Any], **columns: Any) -> Conversation:
    return read_row({"messages": list(messages)} | columns, "messages", "Line 9 of c", str)


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (TURN, [SYSTEM, USER, ANSWER]),
        (TURN, [USER, ANSWER | {"content": " \n"}]),
        (WITHOUT_THOUGHTS, [USER, ANSWER | {"content": "<think>\nOnly thought\n</think>"}, USER]),
        (WITHOUT_THOUGHTS, [USER | {"content": "  spaces \n"}, CALL, RESULT, ANSWER]),
        (JSON_RESULTS, [USER, CALL, RESULT, ANSWER]),
        (TEXT_ARGUMENTS, [USER, CALL, RESULT, ANSWER]),
        (CALL_OR_TEXT, [USER, CALL, RESULT, ANSWER]),
        (PARTS, [SYSTEM, USER, ANSWER]),
        (only("user", "assistant"), [USER, ANSWER]),
    ],
)
def test_what_a_template_rewrites_is_not_passed_over(
    template: str, messages: list[dict[str, Any]]
) -> None:
    used = renderer(template)
    used.check()
    said = talk(*messages)
    assert used.render(said)
    assert used.passed_over(said) == ()
    assert not used.left_out


@pytest.mark.parametrize(
    ("template", "messages", "passed_over"),
    [
        (only("user", "assistant"), [SYSTEM, USER, ANSWER], [(1, "system")]),
        (only("user"), [USER, ANSWER, USER], [(2, "assistant")]),
        (only("user", "assistant"), [USER | {"role": "human"}, ANSWER | {"role": "gpt"}],
         [(1, "human"), (2, "gpt")]),
        # "6" stands in the rendered text all the same
        (only("user", "assistant"), [USER, RESULT | {"content": "6"}, ANSWER], [(2, "tool")]),
        (only("user", "assistant", "tool"), [USER, CALL, RESULT, ANSWER], [(2, "assistant")]),
        ("{{ messages[-1].content }}", [USER, ANSWER, USER], [(1, "user"), (2, "assistant")]),
    ],
)  # fmt: skip
def test_a_message_of_which_nothing_is_rendered_is_found(
    template: str, messages: list[dict[str, Any]], passed_over: list[tuple[int, str]]
) -> None:
    used = renderer(template)
    used.check()
    assert used.passed_over(talk(*messages)) == tuple(PassedOver(*one) for one in passed_over)


@pytest.mark.parametrize(
    ("template", "messages", "left_out"),
    [
        (CALL_OR_TEXT, [USER, CALL | {"content": "Let me see."}],
         {"text of role 'assistant' beside tool calls": 2}),
        (TURN, [USER, CALL | {"content": "Let me see."}],
         {"tool calls of role 'assistant' beside text": 2}),
        (WITHOUT_THOUGHTS, [USER, ANSWER | {"reasoning_content": "Hm"}], {}),
        (WITHOUT_THOUGHTS, [USER, ANSWER | {"reasoning_content": "Hm"}, USER],
         {"reasoning of role 'assistant' beside text": 2}),
    ],
)  # fmt: skip
def test_what_is_left_out_of_messages_is_counted(
    template: str, messages: list[dict[str, Any]], left_out: dict[str, int]
) -> None:
    used = renderer(template)
    for _ in range(2):
        assert used.passed_over(talk(*messages)) == ()
    assert dict(used.left_out) == left_out


def test_tools_are_rendered_or_it_is_said() -> None:
    used, without = renderer("{{ tools|tojson if tools }}" + TURN), renderer(TURN)
    said = talk(USER, ANSWER, tools=TOOLS)
    assert '"name": "times"' in used.render(said)
    for one in (used, without):
        assert one.passed_over(said) == ()
    assert not used.left_out
    assert dict(without.left_out) == {"tools": 1}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        (CALL_OR_TEXT, """{"name": "times", "arguments": {"a": "2'3"}}"""),
        (TEXT_ARGUMENTS, """times({"a": "2'3"})"""),
        (PRINTED_ARGUMENTS, """times({"a": "2'3"})"""),
    ],
)
@pytest.mark.parametrize("given", [{"a": "2'3"}, '{"a": "2\'3"}'])
def test_arguments_are_given_as_the_template_wants_them(
    template: str, rendered: str, given: Any
) -> None:
    call = {"role": "assistant", "tool_calls": [{"name": "times", "arguments": given}]}
    assert rendered in renderer(template).render(talk(USER, call))


def test_a_template_that_checks_contents_takes_no_marks() -> None:
    checks = (
        EACH + "{%- if m.role == 'user' and '?' not in m.content -%}{{ raise_exception('?') }}"
        "{%- endif -%}{%- if m.role != 'tool' -%}" + SAYS + "{%- endif -%}{%- endfor -%}"
    )
    assert renderer(checks).passed_over(talk(USER, RESULT, ANSWER)) == (PassedOver(2, "tool"),)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ messages|nosuchfilter }}", "No filter named 'nosuchfilter'"),
        (TURN + "{{ raise_if_old() }}", "'raise_if_old' is undefined"),
        (TURN + "{{ today.strftime('%d') }}", "'today' is undefined"),
        (TURN + "{{ messages[0]['contents'] + '' }}", "has no attribute 'contents'"),
        (TURN + "{{ 1 / 0 }}", "ZeroDivisionError"),
        (TURN + "{{ raise_exception('never') }}", "never"),
    ],
)
def test_a_fault_of_the_template_blames_no_conversation(template: str, says: str) -> None:
    with pytest.raises(CalibrationError, match="chat template of the model in the model") as caught:
        renderer(template).check()
    assert says in caught.value.fact
    assert "Line" not in str(caught.value)
    assert caught.value.remedy


def test_a_fault_that_only_some_conversations_meet_is_the_templates_too() -> None:
    used = renderer(TURN + "{% if messages|length > 2 %}{{ nosuch() }}{% endif %}")
    used.check()
    with pytest.raises(CalibrationError, match="has a fault: 'nosuch' is undefined"):
        used.render(talk(USER, ANSWER, USER))


def test_a_template_that_wants_a_system_message_is_sound() -> None:
    used = renderer(
        "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}"
        + TURN
    )
    used.check()
    assert used.render(talk(SYSTEM, USER))
    with pytest.raises(CalibrationError, match=r"Line 9 of c: .* refuses") as caught:
        used.render(talk(USER))
    assert caught.value.cause == "system first"


def test_variables_that_are_given_are_no_fault() -> None:
    renderer(TURN + "{{ today.strip() }}", today="Monday").check()


def test_half_of_a_character_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"Line 9 of c holds half of a character: \\ud83d"):
        renderer(TURN).render(talk(USER | {"content": "\ud83d"}))
