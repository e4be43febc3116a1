from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError

from infra.conversations.calibration import load_tokenizer
from infra.models.chat_template import ChatTemplate
from tests.conftest import ROOT

MOMENT = datetime(2024, 7, 26, 13, 5)
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def tokenizer() -> Any:
    return load_tokenizer(ROOT / "infra" / "sample" / "model")


def template(tokenizer: Any, text: str, **variables: object) -> ChatTemplate:
    tokenizer.chat_template = text
    return ChatTemplate(tokenizer, moment=MOMENT, variables=variables)


def test_a_template_that_writes_the_date_gets_the_moment(tokenizer: Any) -> None:
    dated = template(tokenizer, "{{ strftime_now('%d %b %Y %H:%M') }}|{{ messages[0].content }}")
    assert not dated.dated
    assert dated.render(MESSAGES) == "26 Jul 2024 13:05|Hello"
    assert dated.dated


def test_the_clock_is_put_back_also_after_a_fault(tokenizer: Any) -> None:
    with pytest.raises(TemplateError, match="no"):
        template(tokenizer, "{{ strftime_now('%Y') }}{{ raise_exception('no') }}").render(MESSAGES)
    today = tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, chat_template="{{ strftime_now('%Y-%m') }}"
    )
    assert today == datetime.now().strftime("%Y-%m")


def test_variables_and_tools_reach_the_template(tokenizer: Any) -> None:
    text = "{{ enable_thinking }}{{ tools[0].name if tools }}{{ add_generation_prompt }}"
    undated = template(tokenizer, text, enable_thinking=False)
    assert undated.render(MESSAGES, tools=[{"name": "sum"}]) == "FalsesumFalse"
    assert undated.render(MESSAGES, add_generation_prompt=True) == "FalseTrue"
    assert not undated.dated


def test_the_last_message_may_be_left_open(tokenizer: Any) -> None:
    text = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    messages = [*MESSAGES, {"role": "assistant", "content": "The answer is"}]
    rendered = template(tokenizer, text).render(messages, continue_final_message=True)
    assert rendered == "<user>Hello</><assistant>The answer is"


def test_a_moment_is_the_same_wherever_it_is_rendered(tmp_path: Path, tokenizer: Any) -> None:
    again = load_tokenizer(ROOT / "infra" / "sample" / "model")
    text = "{{ strftime_now('%s') }}"
    assert template(tokenizer, text).render(MESSAGES) == template(again, text).render(MESSAGES)
