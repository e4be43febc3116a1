"""An endpoint is evaluated whole, or one error says why not; nothing is half-scored."""

from __future__ import annotations

import html
import json
import math
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.contracts.errors import AssayError
from infra.contracts.records.endpoint import EndpointReport
from infra.contracts.specs import DatasetSpec, EndpointRunSpec, ModelSpec, SamplingSpec, TaskSpec
from infra.engines.remote.own_version import PAGES
from infra.judging.planning import planned
from infra.judging.power import margin
from infra.models import template_clock
from infra.preflight.endpoint import Survey, survey_endpoint
from infra.report import endpoint as report
from infra.report import receipt
from infra.scoring.model import AssayCompletions
from infra.stages import endpoint as stage
from infra.stages.endpoint import evaluate
from infra.store.content import code_digest
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import PrintProgress, shared_cache
from tests.embedding_endpoint import embedding
from tests.foreign_endpoint import (
    KEY,
    NAME,
    SAMPLE,
    Foreign,
    foreign,
    right_on_all_but,
    serving,
)
from tests.infra.stages.conftest import write_template
from tests.infra.suite.own.test_retrieval import question, written

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
    baseline, verdict = fields.pop("baseline", None), fields.pop("verdict", {})
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
            "verdict": verdict,
        }
    )  # fmt: skip


def looked_at(spec: EndpointRunSpec, settings: Settings) -> Survey:
    survey = survey_endpoint(
        spec, settings=settings, progress=PrintProgress(), configured=lambda: None
    )
    assert KEY not in repr(survey)
    return survey


def evaluated(
    spec: EndpointRunSpec, settings: Settings, run_id: str = "run-1"
) -> tuple[EndpointReport, Path]:
    survey = looked_at(spec, settings)
    assert [one.found for one in survey.findings if one.status == "problem"] == []
    assert survey.found is not None
    run = RunFolder(id=run_id, path=settings.runs / run_id)
    if power := planned(spec, settings):
        run.path.mkdir(parents=True)
        run.write("plan", power)
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
        assert survey.found is not None and survey.found.spent.requests == sent_before + 1 + len(
            PAGES
        )
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
        assert len(server.requests) == sent + again.found.spent.requests - 1 - len(PAGES)
        other, _ = evaluated(spec_of(server, GSM8K, version="2026-12"), settings, "run-3")
        assert not other.tasks["gsm8k"].reused


def _other_pages(server: Foreign) -> None:
    server.pages = {"/version": {"version": "0.12.0"}}


def _other_list(server: Foreign) -> None:
    server.listed = {"root": "/models/next"}


def _other_model(server: Foreign) -> None:
    server.created = lambda: 1_700_000_001


def _other_sizes(server: Foreign) -> None:
    server.listed = {"root": "/models/one", "meta": {"n_params": 9}}


def _other_configuration(server: Foreign) -> None:
    server.fingerprint = "fp_2"


@pytest.mark.parametrize(
    "changed",
    [_other_pages, _other_list, _other_model, _other_sizes, _other_configuration],
)
def test_what_says_of_itself_that_it_changed_is_asked_anew_whatever_version_is_declared(
    changed: Callable[[Foreign], None], settings: Settings
) -> None:
    with serving(foreign()) as server:
        server.pages = {"/version": {"version": "0.11.0"}}
        server.listed = {"root": "/models/one", "meta": {"n_params": 8}}
        server.created = lambda: 1_700_000_000
        server.fingerprint = "fp_1"
        spec = spec_of(server, GSM8K, version="2026-11")
        first, _ = evaluated(spec, settings, "run-1")
        assert first.found.says["/version version"] == "0.11.0"
        again, _ = evaluated(spec, settings, "run-2")
        assert again.tasks["gsm8k"].reused
        changed(server)
        other, _ = evaluated(spec, settings, "run-3")
        assert not other.tasks["gsm8k"].reused
        assert other.spent.requests == other.found.spent.requests + 5, "no single answer is taken"


def test_a_list_that_is_made_when_it_is_asked_for_says_nothing_of_the_model(
    settings: Settings,
) -> None:
    with serving(foreign()) as server:
        server.created = lambda: int(time.time())
        spec = spec_of(server, GSM8K, version="2026-11")
        evaluated(spec, settings, "run-1")
        again, _ = evaluated(spec, settings, "run-2")
        assert again.tasks["gsm8k"].reused
        made = int(time.time())
        server.created = lambda: made
        other, _ = evaluated(spec, settings, "run-3")
        assert not other.tasks["gsm8k"].reused, "it was made today"


def test_another_configuration_during_the_tasks_is_one_error(settings: Settings) -> None:
    with serving(foreign()) as server:
        server.fingerprint = "fp_1"
        spec = spec_of(server, GSM8K, version="1")
        survey = looked_at(spec, settings)
        assert survey.found is not None
        server.fingerprint = "fp_2"
        run = RunFolder(id="r", path=settings.runs / "r")
        with pytest.raises(AssayError, match="system_fingerprint fp_2; when it was looked at it"):
            evaluate(spec, survey.found, survey.tokenizer, run=run, created=datetime.now(UTC),
                     settings=settings, progress=PrintProgress())  # fmt: skip


def test_chats_that_the_endpoint_dates_are_of_one_day(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(SAMPLE / "model", tmp_path / "model")
    write_template(folder, "{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}{{ tools }}")

    def on(day: int, run: str) -> bool:
        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Then:
                return cls(2031, 5, day, 12, tzinfo=UTC)

        monkeypatch.setattr(template_clock, "datetime", Then)
        own = ModelSpec(source="local", id=str(folder))
        spec = spec_of(server, GSM8K, version="1")
        endpoint = spec.endpoint.model_copy(update={"tokenizer": own})
        finished, _ = evaluated(spec.model_copy(update={"endpoint": endpoint}), settings, run)
        assert finished.found.prompts == "chat"
        return finished.tasks["gsm8k"].reused

    with serving(foreign(("chat-only",))) as server:
        assert [on(1, "first"), on(1, "again"), on(2, "later")] == [False, True, False]


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
        lambda model, given, *rest: own(model, {**given, "until": [stop]}, *rest),
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


JUDGED = TaskSpec(name="gsm8k", num_fewshot=1, limit=60, max_gen_toks=24)
WIDEN = {"if_unresolvable": "widen"}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run whose endpoint answered all of `JUDGED` right."""
    folder = tmp_path_factory.mktemp("earlier")
    settings = Settings(cache=shared_cache(folder), runs=folder / "runs")
    with pytest.MonkeyPatch.context() as patch, serving(foreign()) as server:
        patch.setenv("THEIR_KEY", KEY)
        server.answers = right_on_all_but(3)
        finished, page = evaluated(spec_of(server, JUDGED), settings, "earlier")
    assert finished.tasks["gsm8k"].metrics["exact_match,strict-match"].value == 57 / 60
    return page.parent


@pytest.mark.parametrize(
    ("wrong", "verdict", "status"),
    [
        (3, {}, "PASS"),
        (24, {}, "FAIL"),
        (6, {"flip_rate": 0.02, "margin_points": 4, "task_margin_points": 20}, "INCONCLUSIVE"),
    ],
)
def test_it_is_judged_by_an_earlier_run(
    wrong: int, verdict: dict[str, Any], status: str, earlier: Path, settings: Settings
) -> None:
    with serving(foreign()) as server:
        server.answers = right_on_all_but(wrong)
        spec = spec_of(server, JUDGED, baseline=str(earlier), verdict={**WIDEN, **verdict})
        finished, page = evaluated(spec, settings, "run-2")
    assert finished.judged is not None
    said = finished.judged.verdict
    assert said.status == status and said.headline.startswith(f"{status}: {NAME} ")
    [metric] = [one for one in finished.judged.comparison.metrics if one.primary]
    assert (metric.lost, metric.gained, metric.pairs) == (wrong - 3, 0, 60)
    assert finished.judged.power is not None
    assert (said.widened_from_points, said.margin_points) == margin(
        spec.verdict, finished.judged.power
    )[::-1]
    for name in ("report.html", "report.md"):
        text = html.unescape((page.parent / name).read_text())
        assert status in text and "which of them it was" in text and "the user's word" in text
        assert ("What would make it conclusive" in text) is (status == "INCONCLUSIVE")
    assert wrong_in(page.parent) == []
    # All that it rests on is in its own folder.
    assert finished.judged.baseline.tasks["gsm8k"].samples == "samples/baseline/gsm8k.jsonl"
    assert finished.judged.baseline.seal == receipt.seal_of(earlier)


def wrong_in(folder: Path) -> list[str]:
    return [text for check in receipt.verify(folder) for text in check.wrong]


def test_without_a_baseline_nothing_is_judged_and_it_says_so(earlier: Path) -> None:
    finished = EndpointReport.model_validate_json((earlier / "report.json").read_text())
    assert finished.judged is None
    for name in ("report.html", "report.md"):
        text = (earlier / name).read_text()
        assert "there is no baseline to judge it by" in text
        assert 'class="verdict' not in text and "INCONCLUSIVE:" not in text
    assert wrong_in(earlier) == []


def test_one_that_was_judged_may_be_the_baseline_of_the_next(
    earlier: Path, settings: Settings
) -> None:
    """Its own rows are taken then, not those of its baseline."""
    with serving(foreign()) as server:
        for wrong, baseline, run in ((24, earlier, "two"), (24, settings.runs / "two", "three")):
            server.answers = right_on_all_but(wrong)
            spec = spec_of(server, JUDGED, baseline=str(baseline), verdict=WIDEN)
            finished, page = evaluated(spec, settings, run)
    assert finished.judged is not None and finished.judged.baseline.by_word
    assert finished.judged.verdict.status == "PASS"
    assert "The baseline is an endpoint too" in (page.parent / "report.md").read_text()


def test_what_cannot_be_judged_is_refused_before_a_task_is_asked(
    earlier: Path, settings: Settings, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(earlier, tmp_path / "changed"))
    rows_of = changed / "samples" / "endpoint" / "gsm8k.jsonl"
    lines = rows_of.read_text().splitlines()
    rows_of.write_text("\n".join([lines[0].replace("####", "###"), *lines[1:]]) + "\n")
    other = other_questions(earlier, tmp_path / "other")
    longer = JUDGED.model_copy(update={"max_gen_toks": 32})
    seed = {"tasks": [JUDGED.model_dump()], "seed": 7}
    with serving(foreign()) as server:
        for tasks, baseline, fields, says in (
            ([JUDGED], earlier, {"verdict": {}}, "cannot be resolved by 60 rows"),
            ([JUDGED], earlier, {"verdict": {**WIDEN, "margins": {"bleu": 1}}}, "names bleu"),
            ([JUDGED], changed, {}, "line 1 was changed"),
            ([JUDGED], other, {}, "differs in doc_hash of document 0"),
            ([longer], earlier, {}, "asked with max_gen_toks=24"),
            ([], earlier, {"evaluation": seed}, "asked with seed=1234"),
            ([MMLU], earlier, {}, "has no rows of global_mmlu_en"),
            ([JUDGED], tmp_path / "nowhere", {}, "no folder of a finished run"),
        ):  # fmt: skip
            spec = spec_of(server, *tasks, baseline=str(baseline), **{"verdict": WIDEN, **fields})
            survey = looked_at(spec, settings)
            [problem] = [one for one in survey.findings if one.status == "problem"]
            assert says in problem.found and problem.remedy
        asked = [body for _, body in server.requests if body.get("max_tokens") in (24, 32)]
        assert asked == []


def other_questions(run: Path, to: Path) -> Path:
    """Return a copy of a run, sealed, whose first row is of another document."""
    copied = Path(shutil.copytree(run, to))
    path = copied / "samples" / "endpoint" / "gsm8k.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    found[0]["doc_hash"] = "0" * 64
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found))
    finished = EndpointReport.model_validate_json((copied / "report.json").read_text())
    (copied / "report.json").write_text(receipt.sealed(finished, copied).model_dump_json())
    return copied


def test_every_row_is_asked(settings: Settings) -> None:
    with pytest.raises(ValidationError, match=r"verdict\.early_stop is not for an endpoint"):
        spec_of(foreign(), GSM8K, url="http://host/v1", verdict={"early_stop": True})


def test_nothing_is_drawn_by_chance() -> None:
    drawn = GSM8K.model_copy(update={"sampling": SamplingSpec(temperature=0.7)})
    with pytest.raises(ValidationError, match="sampling for gsm8k, which is not for an endpoint"):
        spec_of(foreign(), drawn, url="http://host/v1")


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
        root = "http://models.test"
        assert {*server.gets} == {f"{root}/v1/models", *(f"{root}{page}" for page in PAGES)}
        assert all(path.startswith("http://models.test/v1/") for path, _ in server.requests)
        server.gets.clear()
        looked_at(here, settings)
        assert all(path.startswith("/") for path in server.gets)


def test_an_endpoint_names_misconceptions_and_another_one_embeds(
    settings: Settings, tmp_path: Path
) -> None:
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    labelled = written(tmp_path / "one", [question(n) for n in range(3)], shots=0, samples=2)
    without = written(tmp_path / "two", [question(n, **bare) for n in range(3)], shots=0, samples=2)
    tasks = TaskSpec(name="mine", file=str(labelled)), TaskSpec(name="hers", file=str(without))
    with embedding() as embeds, serving(foreign()) as server:
        given = {"url": embeds.url, "model": "embeds"}
        spec = spec_of(server, *tasks, evaluation={"embedding": {"endpoint": given}})
        finished, page = evaluated(spec, settings)
        model = {"source": "local", "id": str(SAMPLE / "model")}
        wrong = spec_of(server, *tasks, evaluation={"embedding": {"model": model}})
        problems = [one.cause for one in looked_at(wrong, settings).findings
                    if one.status == "problem"]  # fmt: skip
    assert problems == ["This evaluation starts no engine."]
    assert 0 <= finished.tasks["mine"].metrics["map_at_25,none"].value <= 1
    assert len(rows(page, "mine")) == 6
    assert finished.tasks["hers"].submission is not None
    handed_in = page.parent / finished.tasks["hers"].submission.path
    assert len(handed_in.read_text().splitlines()) == 1 + 9
    assert finished.tasks["hers"].submission.path in page.read_text()
