from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec, SamplingSpec, TaskSpec
from infra.scoring.sampling import seed_of
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.harness.suite import prepare
from infra.suite.port import AnswerFile
from infra.suite.rows import Row, read_rows
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import evaluation

DRAWN = """\
task: house_task
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{choices[gold]}}"
generation_kwargs:
  until: ["\\n\\n"]
  do_sample: true
  temperature: 0.8
  max_gen_toks: 16
repeats: 3
filter_list:
  - name: all
    filter:
      - function: take_first_k
        k: 3
process_results: !function marks.votes
metric_list:
  - metric: votes
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
  units: {votes: points}
"""
MARKS = """\
def votes(doc, results):
    assert len(results[0]) == 3
    return {"votes": sum(doc["choices"][0] in text for text in results[0]) / 3}
"""


class Drawing(Completions):
    """A server whose texts depend on the seed, as those of a model do."""

    text: Callable[[dict[str, Any]], str] = staticmethod(
        lambda body: f"{body['seed'] % 1000} {sum(body['prompt'][0]) % 50}"
    )
    cut: Callable[[dict[str, Any]], bool] = staticmethod(lambda body: False)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = super().complete(body)
        for choice in answer["choices"]:
            choice["text"] = self.text(body)
            choice["finish_reason"] = "length" if self.cut(body) else "stop"
        return answer


def test_repeats_of_a_definition_are_answers_of_their_own(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    folder = own_tasks.write(tmp_path / "own", DRAWN, marks_py=MARKS)
    suite = prepare(own_tasks.own(folder), settings=settings, progress=Silent())
    # The oracle is asked as often, so that the marking was checked.
    assert suite.notes == ()
    with serving(Drawing()) as server:
        scores = suite.ask("house_task", server, tokenizer, tmp_path / "r.jsonl", Silent())
    rows = [*read_rows(tmp_path / "r.jsonl", "house_task")]
    assert scores.n == len(rows) == 6
    for row in rows:
        assert len({*row.responses[0]}) == 3
        assert row.filtered["all"] == row.responses
    assert len({body["seed"] for body in server.requests}) == len(server.requests) == 18
    assert {json.dumps(body["stop"]) for body in server.requests} == {'["\\n\\n"]'}


PLAIN = SamplingSpec(repeats=3, temperature=0.7, top_p=0.9)


def gsm8k(**fields: Any) -> EvaluationSpec:
    return evaluation(TaskSpec(name="gsm8k", limit=6, num_fewshot=2, max_gen_toks=64, **fields))


def asked(
    spec: EvaluationSpec, settings: Settings, tokenizer: Path, file: Path, **options: Any
) -> tuple[TaskScores, list[Row], list[dict[str, Any]]]:
    suite = prepare(spec, settings=settings, progress=Silent())
    with serving(Drawing(window=9000)) as server:
        scores = suite.ask("gsm8k", server, tokenizer, file, Silent(), **options)
    return scores, [*read_rows(file, "gsm8k")], server.requests


def test_each_question_is_asked_so_often_in_the_words_of_a_single_asking(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    _, once, _ = asked(gsm8k(), settings, tokenizer, tmp_path / "once.jsonl")
    scores, rows, sent = asked(gsm8k(sampling=PLAIN), settings, tokenizer, tmp_path / "often.jsonl")
    assert [(row.doc_id, row.repeat) for row in rows] == [
        (question, turn) for question in range(6) for turn in range(3)
    ]
    assert [row.prompt for row in rows] == [row.prompt for row in once for _ in range(3)]
    assert [row.doc_hash for row in rows] == [row.doc_hash for row in once for _ in range(3)]
    for question in range(6):
        assert len({row.responses[0][0] for row in rows if row.doc_id == question}) == 3
    assert scores.n == 18
    assert scores.metrics[scores.primary_metric].n == 18
    assert scores.conditions["sampling"]["repeats"] == 3
    assert all(row.repeat is None for row in once)
    assert len({body["seed"] for body in sent}) == len(sent) == 18
    drawn = ("temperature", "top_p", "top_k", "min_p")
    assert {tuple(body.get(name) for name in drawn) for body in sent} == {(0.7, 0.9, None, None)}


def test_the_score_is_the_mean_over_askings_and_its_error_that_of_questions(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    _, once, _ = asked(gsm8k(), settings, tokenizer, tmp_path / "once.jsonl")
    made = PreTrainedTokenizerFast.from_pretrained(tokenizer)
    right = {tuple(made(row.prompt)["input_ids"]): row.target.split()[-1] for row in once}
    suite = prepare(gsm8k(sampling=PLAIN), settings=settings, progress=Silent())
    with serving(Drawing(window=9000)) as server:
        server.text = lambda body: (
            f"#### {right[tuple(body['prompt'][0])] if body['seed'] % 2 else 'none'}"
        )
        scores = suite.ask("gsm8k", server, tokenizer, tmp_path / "rows.jsonl", Silent())
    rows = [*read_rows(tmp_path / "rows.jsonl", "gsm8k")]
    value = scores.metrics[scores.primary_metric]
    marks = [row.score(scores.primary_metric) for row in rows]
    means = np.reshape(marks, (6, 3)).mean(axis=1)
    assert 0 < value.value < 1
    assert value.value == pytest.approx(means.mean(), abs=1e-12)
    assert value.stderr == pytest.approx(means.std(ddof=1) / np.sqrt(6), abs=1e-12)


def test_why_an_answer_ended_belongs_to_its_asking(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    suite = prepare(gsm8k(sampling=PLAIN), settings=settings, progress=Silent())
    with serving(Drawing(window=9000)) as server:
        server.cut = lambda body: body["seed"] % 2 == 0
        scores = suite.ask("gsm8k", server, tokenizer, tmp_path / "rows.jsonl", Silent())
    rows = [*read_rows(tmp_path / "rows.jsonl", "gsm8k")]
    for row in rows:
        seed = seed_of(1234, ("gsm8k", row.doc_id), row.repeat or 0)
        assert row.truncated == (seed % 2 == 0)
    assert 0 < scores.truncated < 18


def test_some_questions_are_asked_as_among_all_the_others(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    spec = gsm8k(sampling=PLAIN)
    _, rows, _ = asked(spec, settings, tokenizer, tmp_path / "all.jsonl")
    scores, some, sent = asked(
        spec, settings, tokenizer, tmp_path / "some.jsonl", only={"gsm8k": [1, 4]}
    )
    assert some == [row for row in rows if row.doc_id in (1, 4)]
    assert (scores.n, len(sent)) == (6, 6)
    # And all are there again afterwards.
    _, again, _ = asked(spec, settings, tokenizer, tmp_path / "again.jsonl")
    assert again == rows


def test_more_repeats_begin_with_those_of_fewer_and_none_is_asked_again(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    kept = AnswerFile(tmp_path / "answers.sqlite", "tiny")
    found = []
    for times in (2, 5):
        sampling = PLAIN.model_copy(update={"repeats": times})
        file = tmp_path / f"{times}.jsonl"
        _, rows, sent = asked(gsm8k(sampling=sampling), settings, tokenizer, file, answers=kept)
        found.append({(row.doc_id, row.repeat): row.responses for row in rows})
        assert len(sent) == {2: 12, 5: 18}[times]
    assert found[0].items() <= found[1].items()


def test_nothing_is_sampled_where_a_model_writes_nothing(settings: Settings) -> None:
    spec = evaluation(TaskSpec(name="gpqa_main_zeroshot", sampling=PLAIN))
    with pytest.raises(EvaluationError, match="gpqa_main_zeroshot lets the model write nothing"):
        prepare(spec, settings=settings, progress=Silent())
    with pytest.raises(EvaluationError) as refused:
        kind_of(spec).line(spec.tasks[0], spec, settings=settings, progress=Silent())
    assert "Leave sampling out" in refused.value.remedy


@pytest.mark.parametrize("repeats", [1, 4])
def test_sampling_without_a_temperature_is_refused(repeats: int) -> None:
    with pytest.raises(ValueError, match="without a temperature"):
        SamplingSpec(repeats=repeats)


def test_what_is_sampled_is_in_the_key_of_the_task(settings: Settings) -> None:
    def key(sampling: SamplingSpec | None) -> str | None:
        spec = gsm8k(sampling=sampling)
        return kind_of(spec).keys(spec, settings=settings)["gsm8k"]

    every = [None, PLAIN, *(PLAIN.model_copy(update=one) for one in CHANGES)]
    assert len({key(one) for one in every}) == len(every)


CHANGES: list[dict[str, Any]] = [
    {"repeats": 4}, {"temperature": 0.8}, {"top_p": None}, {"top_k": 5}, {"min_p": 0.1},
]  # fmt: skip
