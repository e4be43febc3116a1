"""An endpoint is evaluated whole, or one error says why not; nothing is half-scored."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import AssayError
from infra.contracts.records.endpoint import EndpointReport
from infra.contracts.specs import DatasetSpec, EndpointRunSpec, TaskSpec
from infra.preflight.endpoint import Survey, survey_endpoint
from infra.report import endpoint as report
from infra.scoring.model import AssayCompletions
from infra.stages import endpoint as stage
from infra.stages.endpoint import evaluate
from infra.store.content import code_digest
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import PrintProgress
from tests.foreign_endpoint import KEY, NAME, SAMPLE, Foreign, foreign, serving

GSM8K = TaskSpec(name="gsm8k", num_fewshot=1, limit=5, max_gen_toks=24)
MMLU = TaskSpec(name="global_mmlu_en", limit=2)
DATASETS = {
    name: DatasetSpec(path=str(SAMPLE / "data" / name)).model_dump()
    for name in ("openai/gsm8k", "CohereLabs/Global-MMLU-Lite")
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)


@pytest.fixture
def settings(own_cache: Path, tmp_path: Path) -> Settings:
    return Settings(cache=own_cache, runs=tmp_path / "runs")


def spec_of(
    server: Foreign, *tasks: TaskSpec, tokenizer: bool = True, **fields: Any
) -> EndpointRunSpec:
    own = {"source": "local", "id": str(SAMPLE / "model")}
    evaluation = fields.pop("evaluation", {})
    baseline = fields.pop("baseline", None)
    return EndpointRunSpec.model_validate(
        {
            "endpoint": {
                "url": server.base_url, "model": NAME, "key_variable": "THEIR_KEY",
                "tokenizer": own if tokenizer else None, **fields,
            },
            "evaluation": {
                "tasks": [one.model_dump() for one in tasks], "datasets": DATASETS, **evaluation,
            },
            "baseline": baseline,
        }
    )  # fmt: skip


def looked_at(spec: EndpointRunSpec, settings: Settings) -> Survey:
    survey = survey_endpoint(spec, settings=settings, progress=PrintProgress())
    assert KEY not in repr(survey)
    return survey


def evaluated(
    spec: EndpointRunSpec, settings: Settings, run_id: str = "run-1"
) -> tuple[EndpointReport, Path]:
    survey = looked_at(spec, settings)
    assert [one.found for one in survey.findings if one.status == "problem"] == []
    assert survey.found is not None
    run = RunFolder(id=run_id, path=settings.runs / run_id)
    finished = evaluate(
        spec, survey.found, survey.tokenizer,
        run=run, created=datetime(2026, 1, 1, tzinfo=UTC), settings=settings,
        progress=PrintProgress(),
    )  # fmt: skip
    page = report.write(finished, folder=run.path)
    for path in settings.runs.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    return finished, page


def rows(page: Path, task: str) -> list[dict[str, Any]]:
    text = (page.parent / "samples" / "endpoint" / f"{task}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "lies",
    [(), ("no-read",), ("no-echo",), ("no-chosen", "no-echo")],
    ids=["both", "echo", "read", "forced"],
)
def test_choices_have_the_likelihoods_of_an_independent_computation(
    lies: tuple[str, ...], settings: Settings
) -> None:
    with serving(foreign(lies)) as server:
        finished, page = evaluated(spec_of(server, MMLU), settings)
        grade = "exact but slow" if {"no-read", "no-chosen"} & {*lies} else "exact"
        assert [one.grade for one in finished.found.outlook] == [grade]
        compared = 0
        for row in rows(page, "global_mmlu_en"):
            for choice, ((value, _),) in zip(row["continuations"], row["responses"], strict=True):
                context = server.encode(row["prompt"])
                whole = server.encode(row["prompt"] + choice)
                terms = [
                    server.logprob(whole[:place], whole[place])
                    for place in range(len(context), len(whole))
                ]
                assert math.isclose(value, sum(terms), abs_tol=1e-9)
                compared += 1
        assert compared == 4 * finished.tasks["global_mmlu_en"].n == 48


def test_what_it_takes_is_known_before_it_is_sent(settings: Settings) -> None:
    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K, MMLU, prompt_price=2.0, answer_price=8.0)
        survey = looked_at(spec, settings)
        sent_before = len(server.requests)
        expected = survey.estimates
        assert survey.found is not None and survey.found.spent.requests == sent_before + 1
        [cost] = [one.found for one in survey.findings if one.name == "cost"]
        assert "in the currency of the prices" in cost
        finished, _ = evaluated(spec, settings)
        sent = finished.spent.requests - finished.found.spent.requests
        assert sent == sum(one.requests for one in expected.values())
        prompt = finished.spent.prompt_tokens - finished.found.spent.prompt_tokens
        assert prompt == sum(one.prompt_tokens for one in expected.values())
        assert finished.spent.money > 0
        assert expected["gsm8k"].requests == 5 and expected["gsm8k"].answer_tokens == 5 * 24


def test_nothing_but_the_tasks_is_sent(settings: Settings) -> None:
    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K)
        before = looked_at(spec, settings)
        assert before.found is not None
        server.requests.clear()
        run = RunFolder(id="r", path=settings.runs / "r")
        evaluate(spec, before.found, before.tokenizer, run=run, created=datetime.now(UTC),
                 settings=settings, progress=PrintProgress())  # fmt: skip
        text = (run.path / "samples" / "endpoint" / "gsm8k.jsonl").read_text()
        prompts = [json.loads(line)["prompt"] for line in text.splitlines()]
        sent = [server.decode(body["prompt"][0]) for _, body in server.requests]
        assert sorted(sent) == sorted(prompts)
        assert {path for path, _ in server.requests} == {"/v1/completions"}


def test_a_declared_version_is_asked_once(settings: Settings) -> None:
    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K, version="2026-11")
        first, _ = evaluated(spec, settings, "run-1")
        sent = len(server.requests)
        again, _ = evaluated(spec, settings, "run-2")
        assert again.tasks["gsm8k"].reused and not first.tasks["gsm8k"].reused
        assert again.spent == again.found.spent  # nothing but finding out
        assert len(server.requests) == sent + again.found.spent.requests - 1
        other, _ = evaluated(spec_of(server, GSM8K, version="2026-12"), settings, "run-3")
        assert not other.tasks["gsm8k"].reused


def test_other_code_takes_no_answer_of_the_code_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(*parts: str) -> str:
        return "other" if parts == stage._ASKING else code_digest(*parts)

    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K, version="2026-11")
        first, _ = evaluated(spec, settings, "run-1")
        monkeypatch.setattr(stage, "code_digest", digest)
        again, _ = evaluated(spec, settings, "run-2")
        assert not again.tasks["gsm8k"].reused
        assert again.spent.requests == first.spent.requests


def test_without_a_version_nothing_is_taken_from_another_run(settings: Settings) -> None:
    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K)
        evaluated(spec, settings, "run-1")
        again, _ = evaluated(spec, settings, "run-2")
        assert not again.tasks["gsm8k"].reused
        assert again.spent.requests == again.found.spent.requests + 5


@pytest.mark.parametrize(
    ("lies", "tokenizer", "evaluation", "path"),
    [
        ((), False, {}, "/v1/completions"),
        (("no-tokens",), True, {}, "/v1/completions"),
        (("chat-only",), False, {}, "/v1/chat/completions"),
        ((), False, {"chat_template": True, "fewshot_as_multiturn": True},
         "/v1/chat/completions"),
    ],
)  # fmt: skip
def test_where_only_texts_are_taken_it_is_generation_only(
    lies: tuple[str, ...],
    tokenizer: bool,
    evaluation: dict[str, Any],
    path: str,
    settings: Settings,
) -> None:
    with serving(foreign(lies)) as server:
        spec = spec_of(server, GSM8K, tokenizer=tokenizer, evaluation=evaluation)
        finished, page = evaluated(spec, settings)
        assert [one.grade for one in finished.found.outlook] == ["generation only"]
        assert "Prompts travelled as text" in (page.parent / "report.md").read_text()
        sent = [body for where, body in server.requests[-5:] if where == path]
        assert len(sent) == 5
        if evaluation:
            assert [one["role"] for one in sent[0]["messages"]] == ["user", "assistant", "user"]
        # Its own marks: what it wrote is what stands in the rows.
        assert all(row["responses"][0][0] for row in rows(page, "gsm8k"))


@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_stop_string_that_is_ignored_is_heeded_here(
    tokenizer: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(*lies: str) -> list[str]:
        with serving(foreign(lies)) as server:
            spec = spec_of(server, GSM8K, tokenizer=tokenizer)
            finished, page = evaluated(spec, settings, "-".join(["run", *lies]))
            assert not finished.tasks["gsm8k"].reused
            return [row["responses"][0][0] for row in rows(page, "gsm8k")]

    whole = written()
    # The task's own stop strings are none that this model writes.
    stop = whole[0].split()[3]
    own = AssayCompletions._settings
    monkeypatch.setattr(
        AssayCompletions, "_settings",
        lambda model, given: own(model, {**given, "until": [stop]}),
    )  # fmt: skip
    honoured, ignored = written("nothing"), written("ignores-stop")
    assert honoured == ignored
    assert honoured[0] == whole[0][: whole[0].index(stop)] != whole[0]


def test_scores_by_log_probabilities_are_refused_where_there_are_none(settings: Settings) -> None:
    with serving(foreign(("no-read", "off-by-one"))) as server:
        survey = looked_at(spec_of(server, GSM8K, MMLU), settings)
        [refused] = [one for one in survey.findings if one.status == "problem"]
        assert refused.found == "global_mmlu_en is not possible on this endpoint."
        assert "off by one position" in refused.cause and "evaluation.tasks" in refused.remedy
        assert survey.found is not None
        grades = {one.task: one.grade for one in survey.found.outlook}
        assert grades == {"gsm8k": "exact", "global_mmlu_en": "not possible"}


@pytest.mark.parametrize(
    ("lies", "says"),
    [
        ("changes-name", f"answers as {NAME}-2; when it was looked at it was {NAME}"),
        ("cuts-answers-later", "cut an answer after 10 tokens, though 24 were allowed"),
        ("dies-later", "could not be asked gsm8k"),
    ],
)
def test_a_lie_during_the_tasks_is_one_error_and_no_score(
    lies: str, says: str, settings: Settings
) -> None:
    with serving(foreign((lies,))) as server:
        spec = spec_of(server, GSM8K, patience_seconds=1, version="1")
        survey = looked_at(spec, settings)
        assert survey.found is not None
        assert [one.found for one in survey.findings if one.status == "problem"] == []
        server.later = len(server.requests)
        run = RunFolder(id="r", path=settings.runs / "r")
        with pytest.raises(AssayError) as refused:
            evaluate(spec, survey.found, survey.tokenizer, run=run, created=datetime.now(UTC),
                     settings=settings, progress=PrintProgress())  # fmt: skip
        assert says in str(refused.value) and refused.value.remedy
        assert not list(settings.scores.glob("*/scores.json"))


def test_limits_are_honoured_and_every_request_counted(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(foreign(("throttles",))) as server:
        spec = spec_of(server, GSM8K, concurrency=1)
        survey = looked_at(spec, settings)
        assert survey.found is not None
        server.later = len(server.requests)
        capsys.readouterr()
        run = RunFolder(id="r", path=settings.runs / "r")
        finished = evaluate(spec, survey.found, survey.tokenizer, run=run, settings=settings,
                            created=datetime.now(UTC), progress=PrintProgress())  # fmt: skip
        assert server.since == 7  # five questions, two of the requests refused for now
        assert finished.spent.requests == survey.found.spent.requests + 7
        assert finished.tasks["gsm8k"].n == 5
        assert capsys.readouterr().out.count("the endpoint asks to wait 1 s") == 2


def test_the_budget_is_never_exceeded_and_what_was_answered_is_kept(settings: Settings) -> None:
    with serving(foreign()) as server:
        spec = spec_of(server, GSM8K, version="1", concurrency=1)
        survey = looked_at(spec, settings)
        assert survey.found is not None
        poor = {"budget": {"requests": survey.found.spent.requests + 3}}
        short = spec_of(server, GSM8K, version="1", concurrency=1, **poor)
        refused = looked_at(short, settings)
        [problem] = [one for one in refused.findings if one.status == "problem"]
        assert "The tasks may take" in problem.found and "endpoint.budget.requests" in problem.found
        server.requests.clear()
        run = RunFolder(id="r", path=settings.runs / "r")
        with pytest.raises(AssayError, match=r"would exceed endpoint\.budget\.requests"):
            evaluate(short, survey.found, survey.tokenizer, run=run, created=datetime.now(UTC),
                     settings=settings, progress=PrintProgress())  # fmt: skip
        assert len(server.requests) == 3
        server.requests.clear()
        evaluate(spec, survey.found, survey.tokenizer, run=run, created=datetime.now(UTC),
                 settings=settings, progress=PrintProgress())  # fmt: skip
        assert len(server.requests) == 2


def test_rows_stand_beside_those_of_an_earlier_run(settings: Settings) -> None:
    with serving(foreign()) as server:
        _, page = evaluated(spec_of(server, GSM8K, MMLU), settings, "run-1")
        other = spec_of(server, GSM8K, MMLU, baseline=str(page.parent))
        finished, second = evaluated(other, settings, "run-2")
        assert {one.difference for one in finished.beside.values()} == {0.0}
        assert finished.beside["global_mmlu_en"].rows == 12
        assert f"Scores beside {NAME} at" in (second.parent / "report.md").read_text()
        longer = GSM8K.model_copy(update={"max_gen_toks": 32})
        few = {"tasks": [GSM8K.model_dump()]}
        for spec, says in (
            (spec_of(server, longer, baseline=str(page.parent)), "asked with max_gen_toks=24"),
            (spec_of(server, GSM8K, baseline="nowhere"), "no folder of a finished run"),
            (
                spec_of(server, TaskSpec(name="global_mmlu_en_stem"), baseline=str(page.parent)),
                "has no rows of global_mmlu_en_stem",
            ),
            (
                spec_of(server, baseline=str(page.parent), evaluation={**few, "seed": 7}),
                "asked with seed=1234",
            ),
        ):
            survey = looked_at(spec, settings)
            [problem] = [one for one in survey.findings if one.status == "problem"]
            assert says in problem.found and problem.remedy


def test_proxies_are_for_what_is_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy takes a plain request under the whole address, and hands it on."""
    with serving(foreign()) as server:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, server.base_url.removesuffix("/v1"))
        here = spec_of(server, GSM8K)
        assert not here.endpoint.proxied
        elsewhere = spec_of(server, GSM8K, url="http://models.test/v1")
        assert elsewhere.endpoint.proxied
        finished, _ = evaluated(elsewhere, settings)
        assert finished.tasks["gsm8k"].n == 5
        assert set(server.gets) == {"http://models.test/v1/models"}
        assert all(path.startswith("http://models.test/v1/") for path, _ in server.requests)
        server.gets.clear()
        looked_at(here, settings)
        assert all(path.startswith("/") for path in server.gets)
