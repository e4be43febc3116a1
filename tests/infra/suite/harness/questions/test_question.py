from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.conversations.calibration import load_tokenizer
from infra.store.settings import Settings
from infra.suite.harness.prepared import questions_of
from infra.suite.harness.questions.prompting import Prompting
from infra.suite.harness.questions.question import Questions
from infra.suite.harness.questions.rendering import render
from infra.suite.harness.remembered import remembered
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import evaluation
from tests.tokenizers_of_models import GEMMA, write

GENERATING = own_tasks.DEFINITION.replace("multiple_choice", "generate_until").replace(
    "metric: acc", "metric: exact_match"
)
BEGUN = GENERATING.replace("metric_list:", 'gen_prefix: "The answer is"\nmetric_list:')
DESCRIBED = own_tasks.DEFINITION.replace(
    "metric_list:", 'description: "You are an examiner."\nfewshot_split: test\nmetric_list:'
)
TWO_TEXTS = own_tasks.DEFINITION.replace('doc_to_text: "Question: {{q}}\\nAnswer:"', "").replace(
    'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{gold}}"',
    'doc_to_text: "{{gold}}"\ndoc_to_choice: "{{[q, choices[1]]}}"\ndoc_to_target: " is asked"',
)
READ = (
    own_tasks.DEFINITION.replace("multiple_choice", "loglikelihood_rolling")
    .replace('doc_to_choice: "{{choices}}"\ndoc_to_target: "{{gold}}"', 'doc_to_target: "{{q}}"')
    .replace("metric: acc", "metric: word_perplexity")
    .replace("mean", "weighted_perplexity")
)


def first_texts(suite: list[Questions], folder: Path, spec: EvaluationSpec) -> list[str]:
    prompting = Prompting.of(load_tokenizer(folder), folder, spec)
    texts = []
    for one in suite:
        rendered = render(one, prompting.template) if prompting.template else {}
        texts += [prompt.filled(rendered) for prompt in one.prompts]
    return texts


@pytest.mark.parametrize(
    ("definition", "fields"),
    [
        (own_tasks.DEFINITION, {}),
        (own_tasks.DEFINITION, {"chat_template": True, "system_instruction": "Be brief."}),
        (DESCRIBED, {"chat_template": True, "fewshot_as_multiturn": True}),
        (DESCRIBED, {"chat_template": True, "system_instruction": "Be brief."}),
        (BEGUN, {"chat_template": True}),
        (GENERATING, {"system_instruction": "Be brief."}),
        (TWO_TEXTS, {"chat_template": True}),
    ],
    ids=["plain", "chat", "turns", "both", "begun", "generated", "two texts"],
)
def test_the_first_question_is_rendered_as_it_will_be_sent(
    definition: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    folder = write(tmp_path / "model", single="<s> $A", template=GEMMA)
    shots = 3 if "fewshot_split" in definition else 0
    spec = own_tasks.own(own_tasks.write(tmp_path / "own", definition), concurrency=2, **fields)
    spec = spec.model_copy(update={"tasks": (TaskSpec(name=own_tasks.NAME, num_fewshot=shots),)})
    suite = prepare(spec, settings=settings, progress=Silent())
    with serving(Completions()) as server:
        suite.ask(own_tasks.NAME, server, folder, tmp_path / "samples", Silent())
    row = json.loads((tmp_path / "samples").read_text().splitlines()[0])
    texts = first_texts(list(suite.questions), folder, spec)
    assert any(text.startswith(row["prompt"]) for text in texts)
    assert all(text.partition("\x00")[1] == "" for text in texts)
    facts = remembered(spec, settings, Silent())
    assert facts is not None
    kept = list(facts.questions)
    assert first_texts(kept, folder, spec) == texts


def test_texts_that_are_read_in_windows_have_no_prompt_but_a_conversation(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache")
    spec = own_tasks.own(own_tasks.write(tmp_path / "own", READ), chat_template=True)
    (read,) = questions_of(spec, settings=settings, progress=Silent())
    assert read.prompts == ()
    assert [m["role"] for m in read.conversations[0].messages] == ["user"]


def test_the_longest_of_the_first_questions_is_kept_beside_the_first(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache")
    folder = own_tasks.write(tmp_path / "own", GENERATING)
    rows = own_tasks.rows()
    rows[4]["q"] = "long " * 50
    own_tasks.write_rows(folder / "rows.jsonl", rows)
    spec = own_tasks.own(folder)
    (first,) = questions_of(spec, settings=settings, progress=Silent())
    assert [prompt.context[10:14] for prompt in first.prompts] == ["What", "long"]
    assert {prompt.answer for prompt in first.prompts} == {256}  # lm-eval's own


def test_a_group_of_the_spec_is_remembered(tmp_path: Path) -> None:
    spec = evaluation(TaskSpec(name="global_mmlu_en", limit=1))
    found = questions_of(spec, settings=Settings(cache=tmp_path), progress=Silent())
    assert {one.line for one in found} == {"global_mmlu_en"}
    assert len({one.task for one in found}) == 6
    assert all(len(one.prompts) == 4 for one in found)


def test_a_task_is_called_what_this_spec_calls_it(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    whole = evaluation(TaskSpec(name="gpqa_main_zeroshot", limit=1))
    questions_of(whole, settings=settings, progress=Silent())
    (path,) = (tmp_path / "suites").iterdir()
    path.write_text(path.read_text().replace('"line":"gpqa_main_zeroshot"', '"line":"gpqa"'))
    (first,) = questions_of(whole, settings=settings, progress=Silent())
    assert first.line == "gpqa_main_zeroshot"


def test_a_task_whose_own_code_fails_is_named(tmp_path: Path) -> None:
    definition = own_tasks.CODED
    code = "def ask(doc):\n    raise RuntimeError('no examiner')\n"
    spec = own_tasks.own(own_tasks.write(tmp_path / "own", definition, utils_py=code))
    with pytest.raises(EvaluationError, match="no examiner") as failed:
        prepare(spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent())
    assert own_tasks.NAME in failed.value.fact
