from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec
from infra.conversations.calibration import load_tokenizer
from infra.suite.harness.questions import prompts
from infra.suite.harness.questions.prompting import Prompting, chat_template
from infra.suite.harness.questions.question import Conversation, Prompt, Questions
from infra.suite.harness.questions.rendering import faults, render, unread_variables
from tests.infra.suite.harness.conftest import evaluation
from tests.tokenizers_of_models import PLAIN, write

NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
)
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ m.content }}"
    "{% endfor %}"
)
ONE_TURN = (
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length > 1 %}"
    "{{ raise_exception('one user turn only') }}{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
)
USER_ONLY = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
LAST_ONLY = "{{ messages[-1].content }}"
NOTHING = "You are a helpful assistant.{% for m in messages %}{{ m.text }}{% endfor %}"
SHORTENING = "{% for m in messages %}{{ m.content[:8] }}{% endfor %}"
NEEDS_A_VARIABLE = "{{ 'a' + style }}{% for m in messages %}{{ m.content }}{% endfor %}"
NO_PREFILL = (
    "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no prefill') }}{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
)
BROKEN = "{{ 1 // 0 }}{% for m in messages %}{{ m.content }}{% endfor %}"

SYSTEM = {"role": "system", "content": "Be brief."}
SHOT = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
QUESTION = {"role": "user", "content": "What is 2 + 2?"}
BEGUN = {"role": "assistant", "content": "The answer is"}


def questions(*messages: dict[str, str], task: str = "gsm8k", line: str = "gsm8k") -> Questions:
    chat = Conversation(messages=messages, opens_answer=messages[-1]["role"] == "user")
    prompt = Prompt(context="\x000\x00", continuation="", answer=8)
    return Questions(task=task, line=line, conversations={0: chat}, prompts=(prompt,))


def found(
    template: str, suite: list[Questions], folder: Path, **fields: Any
) -> list[EvaluationError]:
    spec = spec_of(**fields)
    tokenizer = load_tokenizer(write(folder / "model", template=template))
    return faults(suite, chat_template(tokenizer, spec), spec)


def spec_of(**fields: Any) -> EvaluationSpec:
    return evaluation("gsm8k", chat_template=True, **fields)


@pytest.mark.parametrize(
    ("template", "messages", "fields", "fact", "words", "remedy"),
    [
        (NO_SYSTEM, [SYSTEM, QUESTION], {"system_instruction": "Be brief."},
         "refuses the system message (evaluation.system_instruction)",
         "System role not supported", "Leave evaluation.system_instruction empty."),
        (NO_SYSTEM, [SYSTEM, QUESTION], {}, "refuses the system message (the task's description)",
         "System role not supported", "Set evaluation.chat_template to False, or leave gsm8k out"),
        (NO_SYSTEM, [{**SYSTEM, "content": "Be kind. Be brief."}, QUESTION],
         {"system_instruction": "Be kind."},
         "the task's description after evaluation.system_instruction",
         "System role", "Set evaluation.chat_template to False"),
        (ONE_TURN, [*SHOT, QUESTION], {"fewshot_as_multiturn": True},
         "refuses worked examples as turns (evaluation.fewshot_as_multiturn)",
         "one user turn only", "Set evaluation.fewshot_as_multiturn to False."),
        (ALTERNATING, [SYSTEM, *SHOT, QUESTION],
         {"fewshot_as_multiturn": True, "system_instruction": "Be brief."},
         "refuses the system message", "roles must alternate",
         "Leave evaluation.system_instruction empty."),
        (NO_PREFILL, [QUESTION, BEGUN], {}, "refuses the beginning of the answer", "no prefill",
         "Set evaluation.chat_template to False"),
        (USER_ONLY, [SYSTEM, QUESTION], {"system_instruction": "Be brief."},
         "leaves out the system message", "given system, user",
         "Leave evaluation.system_instruction empty."),
        (USER_ONLY, [*SHOT, *SHOT, QUESTION], {"fewshot_as_multiturn": True},
         "leaves out worked examples as turns", "2 times user and assistant, user",
         "Set evaluation.fewshot_as_multiturn to False."),
        (LAST_ONLY, [SYSTEM, *SHOT, QUESTION],
         {"fewshot_as_multiturn": True, "system_instruction": "Be brief."},
         "system message (evaluation.system_instruction) and worked examples", "given system",
         "Leave evaluation.system_instruction empty and set evaluation.fewshot_as_multiturn to"),
        (NOTHING, [QUESTION], {}, "leaves out the user message", "given user",
         "Set evaluation.chat_template to False"),
        (SHORTENING, [QUESTION], {}, "leaves out the user message", "given user",
         "Set evaluation.chat_template to False"),
        (NEEDS_A_VARIABLE, [QUESTION], {}, "refuses the question itself", "style",
         "Set evaluation.chat_template to False"),
        ("{{ 'a' + (style or '') }}" + PLAIN, [QUESTION], {"chat_template_kwargs": {"style": 1}},
         "refuses the question with evaluation.chat_template_kwargs", "str",
         "Leave evaluation.chat_template_kwargs empty or give other values."),
        (BROKEN, [QUESTION], {}, "refuses the question itself", "zero",
         "Set evaluation.chat_template to False"),
    ],
)  # fmt: skip
def test_what_a_template_refuses_or_leaves_out_is_named(
    template: str,
    messages: list[dict[str, str]],
    fields: dict[str, Any],
    fact: str,
    words: str,
    remedy: str,
    tmp_path: Path,
) -> None:
    (error,) = found(template, [questions(*messages)], tmp_path, **fields)
    assert fact in error.fact
    assert error.fact.endswith("in the first question of gsm8k.")
    assert words in error.cause
    assert error.remedy.startswith(remedy)


@pytest.mark.parametrize(
    "template",
    [
        PLAIN,
        "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}",
        # the system message goes before the question, as Gemma's and Mistral's templates have it
        "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}{% endif %}"
        "{% for m in messages if m.role != 'system' %}{{ m.role }}"
        "{% if loop.last %}{{ s }} {% endif %}{{ m.content }}{% endfor %}",
        # thoughts of earlier answers are left out, as reasoning models want it
        "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}",
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{% if m.content != '2' and 'qz' in m.content %}"
        "{{ raise_exception('strange') }}{% endif %}{{ m.content }}{% endfor %}",
    ],
    ids=["plain", "trimmed", "moved", "without thoughts", "upper case", "takes no marks"],
)
def test_a_template_that_shows_everything_is_taken(template: str, tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "<think>one and one</think>2"}
    suite = [
        questions(QUESTION),
        questions(SYSTEM, *SHOT, QUESTION),
        questions(SYSTEM, SHOT[0], thought, QUESTION),
        questions(*SHOT, QUESTION, {"role": "user", "content": " \n"}),
    ]
    assert found(template, suite[:2] if "strange" in template else suite, tmp_path) == []


def test_tasks_with_the_same_fault_share_an_error(tmp_path: Path) -> None:
    suite = [questions(SYSTEM, QUESTION, task=f"mmlu_{n}", line="mmlu") for n in range(9)]
    suite += [
        questions(QUESTION, task="fine"),
        questions(QUESTION, BEGUN, task="begun", line="begun"),
    ]
    error, other = found(NO_SYSTEM + NO_PREFILL, suite, tmp_path)
    assert "of begun." in other.fact + error.fact
    error = error if "mmlu" in error.fact else other
    assert "mmlu_0, mmlu_1, mmlu_2, mmlu_3, mmlu_4 and mmlu_5 and 3 more." in error.fact
    assert "leave mmlu out of evaluation.tasks" in error.remedy


def test_a_text_that_is_read_in_windows_must_not_be_refused_all_the_same(tmp_path: Path) -> None:
    read = questions(SYSTEM, {"role": "user", "content": ""}).model_copy(update={"prompts": ()})
    assert len(found(NO_SYSTEM, [read], tmp_path)) == 1
    assert found(USER_ONLY, [read], tmp_path / "other") == []


def test_variables_that_are_never_read_are_said(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% set mood = mood | default('calm') %}{{ strftime_now('%Y') }}"
        "{% if enable_thinking is defined %}{{ mood }}{% endif %}" + PLAIN
    )
    tokenizer = load_tokenizer(write(tmp_path / "model", template=template))
    spec = spec_of(chat_template_kwargs={"enable_thinkin": False, "mood": "x", "bos_token": ""})
    said = unread_variables(chat_template(tokenizer, spec), spec)
    assert "never reads enable_thinkin;" in said
    assert said.endswith("it reads enable_thinking and mood")
    good = spec_of(chat_template_kwargs={"mood": "x"})
    assert unread_variables(chat_template(tokenizer, good), good) == ""


@pytest.mark.parametrize(
    ("template", "fact", "remedy"),
    [
        (None, "has no chat template", "Set evaluation.chat_template to False"),
        ("", "has no chat template", "Set evaluation.chat_template to False"),
        (
            [{"name": "tool_use", "template": PLAIN}, {"name": "rag", "template": PLAIN}],
            "templates named rag, tool_use, and none named default",
            "Set evaluation.chat_template to False, or name one of them default",
        ),
    ],
    ids=["none", "empty", "named"],
)
def test_a_missing_template_is_a_problem(
    template: Any, fact: str, remedy: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", template=template)
    (error,) = prompts.look([questions(QUESTION)], folder, spec_of(), window=64).problems
    assert fact in error.fact
    assert error.remedy.startswith(remedy)


def test_prompts_are_measured_as_they_are_rendered(tmp_path: Path) -> None:
    long = "{{ 'Rules of this house. ' * 10 }}" + PLAIN
    folder = write(tmp_path / "model", template=long, single="<s> $A")
    spec = spec_of()
    tokenizer = load_tokenizer(folder)
    suite = [questions(QUESTION)]
    prompting = Prompting.of(tokenizer, folder, spec)
    assert prompting.template is not None
    text = suite[0].prompts[0].filled(render(suite[0], prompting.template))
    needed = len(tokenizer(text)["input_ids"]) + 8
    assert prompts.look(suite, folder, spec, window=needed + 1).problems == []
    (error,) = prompts.look(suite, folder, spec, window=needed).problems
    assert f"needs {needed - 8} tokens and 8 for the answer" in error.fact


def test_variables_of_a_template_that_no_question_goes_through_are_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", template="{{ mood }}" + PLAIN)
    spec = evaluation("gsm8k", chat_template_kwargs={"mood": "calm"})
    assert "and no question" in prompts.look([], folder, spec, window=64).unread
    spec = spec_of(chat_template_kwargs={"mood": "calm"})
    assert prompts.look([], folder, spec, window=64).unread == ""
