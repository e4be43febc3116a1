"""What the assistant is trained on is what its chat template renders."""

import json
from pathlib import Path

import jinja2
import pytest

from infra.sample.training import chat, tools
from infra.sample.training.formats import END_OF_TEXT, text_of
from infra.sample.training.items import chance
from infra.sample.training.world import seen

ASSISTANT = Path(chat.__file__).parents[1] / "assistant"


def rendered(messages, listed=None, generation=False):
    text = json.loads((ASSISTANT / "tokenizer_config.json").read_text())["chat_template"]
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(text).render(
        messages=messages, tools=listed, add_generation_prompt=generation
    )


def offered(count):
    return [tool.listed for tool in list(tools.TOOLS.values())[:count]]


def wire(listed):
    return [{"type": "function", "function": tool} for tool in listed]


def ended(document):
    return text_of(document).removesuffix(END_OF_TEXT)


def test_a_question_without_functions() -> None:
    messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}]
    document = [*chat.opening(), *chat.user("Hello."), *chat.assistant("Yes?")]
    assert ended(document) + "\n" == rendered(messages)


def test_a_system_turn_of_ones_own() -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello."}]
    document = [*chat.opening(system="Be short."), *chat.user("Hello.")]
    assert text_of(document) + "<|im_start|>assistant\n" == rendered(messages, generation=True)


@pytest.mark.parametrize("count", [1, 16])
def test_calls_and_what_they_hand_back(count) -> None:
    calls = [
        {"name": "get_weather", "arguments": {"city": "Málaga"}},
        {"name": "set_timer", "arguments": {"minutes": 5}},
    ]
    results = ['{"weather": "rain"}', '{"timer": 3}']
    messages = [
        {"role": "user", "content": "What now?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": one} for one in calls]},
        *({"role": "tool", "content": one} for one in results),
        {"role": "assistant", "content": "It rains."},
    ]
    document = [
        *chat.opening(offered(count)),
        *chat.user("What now?"),
        *chat.assistant(chat.calls_text(calls), last=False),
        *chat.handed_back(results),
        *chat.assistant("It rains."),
    ]
    assert ended(document) + "\n" == rendered(messages, wire(offered(count)))


def test_training_documents_are_of_that_format() -> None:
    rng = chance("a document of many turns")
    for _ in range(50):
        text = text_of(tools.document(seen, rng, 1, 16))
        assert text.startswith(text_of(chat.opening(offered(1)))[:250])
        assert text.endswith(f"<|im_end|>{END_OF_TEXT}")
        assert text.count("<|im_start|>") == text.count("<|im_end|>")
