"""How long a run will take: the sum of what earlier arms took; and which way costs less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.specs import BASELINE, RunSpec
from infra.machine.device import Device, detect
from infra.models.memory_need import from_name
from infra.models.weights import inspect_spec
from infra.preflight import forecast, survey
from infra.preflight.findings import Finding
from infra.store.content import digest_file, digest_of
from infra.store.settings import Settings
from infra.store.stored_scores import REPEATED, scores_of, tokenized
from infra.suite import kind_of
from infra.suite.harness.prepared import check_suite
from tests.conftest import ROOT
from tests.infra.preflight.earlier_reports import Machine, Took
from tests.infra.preflight.test_earlier_arms import CANDIDATE, H200, TOOK, newest, planned

TASKS = '[{"name": "gsm8k", "limit": 20}, {"name": "gpqa_main_zeroshot", "limit": 10}]'
UNTIMED = "speed.enabled=false"
COMPILED = {
    BASELINE: Took(start=57, each=0.01, beside=5),
    CANDIDATE: Took(start=57, each=0.01, beside=5, making=45),
}
EAGER = {name: replace(one, start=29, each=0.05) for name, one in COMPILED.items()}
"""Seconds of a start on an H200 with and without torch.compile and graphs; rows as they may be."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks are remembered that were loaded once."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "environments").symlink_to(Settings().environments)
    return folder


@pytest.fixture
def settings(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(ROOT)
    return Settings(cache=cache, runs=tmp_path / "runs")


@pytest.fixture
def spec(settings: Settings) -> RunSpec:
    """The sample served compiled, with 20 rows of one task and 10 of another, loaded."""
    wanted = override(sample(), [f"evaluation.tasks={TASKS}", "serving.enforce_eager=false"])
    check_suite(wanted.evaluation, settings=settings, progress=Silent())
    return wanted


@pytest.fixture
def there(tmp_path: Path, settings: Settings) -> Machine:
    return Machine(tmp_path, settings, H200)


def look_at(machine: Machine, spec: RunSpec, *given: str) -> list[Finding]:
    wanted = override(spec, given) if given else spec
    check_suite(wanted.evaluation, settings=machine.settings, progress=Silent())
    devices: dict[str, Device | None] = {
        name: detect("cpu") if arm.serving.device == "cpu" else machine.device
        for name, arm in wanted.arms.items()
    }
    shapes = dict.fromkeys(wanted.arms, from_name("7B"))
    return forecast.look_at(wanted, devices, shapes, machine.settings, Silent())


def said(machine: Machine, spec: RunSpec, *given: str) -> str:
    [finding] = look_at(machine, spec, *given)
    assert (finding.name, finding.status) == ("expected time", "ok")
    return finding.found


def test_where_nothing_is_known_nothing_is_said(there: Machine, spec: RunSpec) -> None:
    assert look_at(there, spec) == []
    there.ran(override(spec, ["model.id=another"]), TOOK)
    assert look_at(there, spec) == []


def test_a_run_takes_the_sum_of_its_parts(there: Machine, spec: RunSpec) -> None:
    there.ran(spec, TOOK)
    # 57 + 30 rows of 0.01 + 18 + 5, and 61 + 30 of 0.02 + 16 + 9
    assert said(there, spec).startswith(
        "about 3 min 30 s: making 45 s, baseline 1 min 20 s, awq-4bit-g128 1 min 27 s; speed"
    )
    # 2 x 30 rows, and nothing is timed
    assert said(there, spec, UNTIMED, "evaluation.tasks.gsm8k.limit=50").startswith(
        "about 3 min: making 45 s, baseline 1 min 3 s, awq-4bit-g128 1 min 11 s"
    )


def test_a_spread_is_said_with_its_ends(there: Machine, spec: RunSpec) -> None:
    plain = override(spec, [UNTIMED])
    for start in (40, 60, 90):
        there.ran(plain, {BASELINE: Took(start=start, each=0.1, beside=2)})
    text = said(there, plain)
    assert text.startswith("about 1 min 5 s (45 s to 1 min 35 s): baseline 1 min 5 s; ")
    assert text.endswith("; no earlier run tells of making and serving of awq-4bit-g128")


def test_the_part_that_is_known_is_said(there: Machine, spec: RunSpec) -> None:
    there.ran(override(spec, [UNTIMED]), TOOK)
    text = said(there, spec, "evaluation.tasks.gsm8k.num_fewshot=2")
    assert "; no earlier run tells of gsm8k and timing of baseline and awq-4bit-g128; " in text
    there.ran(override(spec, [UNTIMED, "fidelity.enabled=false"]), {BASELINE: Took(57, 0.01)})
    text = said(there, spec, UNTIMED, "fidelity.enabled=false")
    assert "tells of what is measured beside the tasks of awq-4bit-g128" in text


def test_rows_of_tasks_without_a_margin_are_as_many_as_before(
    there: Machine, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = override(spec, [UNTIMED])
    there.ran(plain, COMPILED, rows=1000)
    kind = kind_of(spec.evaluation)
    monkeypatch.setattr(type(kind), "row_counts", lambda *_, **__: {"gsm8k": 20})
    assert "baseline 1 min 12 s" in said(there, plain)  # 57 + 5 + (20 + 1000) x 0.01
    other = said(there, plain, "evaluation.tasks.gpqa_main_zeroshot.limit=5")
    assert "tells of gpqa_main_zeroshot of baseline" in other


def test_a_question_that_is_asked_four_times_is_four_rows(there: Machine, spec: RunSpec) -> None:
    sampling = 'evaluation.tasks.gsm8k.sampling={"repeats": 4, "temperature": 0.7}'
    drawn = override(spec, [UNTIMED, sampling])
    there.ran(drawn, {BASELINE: Took(start=50, each=0.5)})
    assert "baseline 1 min 35 s" in said(there, drawn)  # 50 + (4 x 20 + 10) x 0.5


def test_rows_of_another_run_count_once(there: Machine, spec: RunSpec) -> None:
    """Of a run that took scores over, only what it asked itself tells how long that takes."""
    plain = override(spec, [UNTIMED])
    for each, update in ((0.0, {"kept": 90}), (9.0, {"reused": True}), (0.1, {})):
        report = there.ran(plain, {BASELINE: Took(start=50, each=each)})
        result = report.arms[BASELINE]
        taken = result.tasks["gsm8k"].model_copy(update=update)
        arms = {BASELINE: result.model_copy(update={"tasks": {**result.tasks, "gsm8k": taken}})}
        there.write(report.model_copy(update={"arms": arms}), there.runs[-1])
    # 20 rows of 0.1 s, and 10 of 0, 0.1 or 9 s
    assert "baseline 53 s" in said(there, plain)


def test_the_baseline_is_asked_again_for_the_noise_floor(there: Machine, spec: RunSpec) -> None:
    there.ran(spec, TOOK)
    assert "baseline again 57 s" in said(there, spec, "evaluation.noise_floor=true")
    assert ", if all rows are asked: " in said(there, spec, "verdict.early_stop=true")


def turned(text: str) -> list[str]:
    return text.split("; ")[1:]


def test_eager_costs_less_where_rows_are_few_and_compiled_where_they_are_many(
    there: Machine, spec: RunSpec
) -> None:
    compiled = override(spec, [UNTIMED])
    eager = override(compiled, ["serving.enforce_eager=true"])
    there.ran(compiled, COMPILED, rows=5000)
    assert turned(said(there, compiled)) == []
    assert look_at(there, eager)[0].found.endswith("tells of serving of baseline and awq-4bit-g128")
    there.ran(eager, EAGER, rows=5000)
    # Of two arms 28 s of the start and 30 rows of 0.04 s; 700 rows of 0.04 s are 28 s.
    alike = "(with 700 rows an arm both take as long)"
    assert turned(said(there, compiled)) == [
        f"serving.enforce_eager=true would take about 54 s less {alike}"
    ]
    assert turned(said(there, eager)) == [
        f"serving.enforce_eager=false would take about 54 s more {alike}"
    ]


def test_with_many_rows_compiled_costs_less(
    there: Machine, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = override(spec, [UNTIMED])
    eager = override(compiled, ["serving.enforce_eager=true"])
    there.ran(compiled, COMPILED)
    there.ran(eager, EAGER)
    monkeypatch.setattr(
        type(kind_of(spec.evaluation)), "row_counts",
        lambda *_, **__: {"gsm8k": 1319, "gpqa_main_zeroshot": 448},
    )  # fmt: skip
    (way,) = turned(said(there, eager))
    # 2 x (1767 x 0.04 - 28) s
    assert way.startswith("serving.enforce_eager=false would take about 1 min 25 s less")
    (way,) = turned(said(there, compiled))
    assert way.startswith("serving.enforce_eager=true would take about 1 min 25 s more")


def test_what_is_timed_stays_as_it_will_be_served(there: Machine, spec: RunSpec) -> None:
    timed = {name: replace(one, timing=20) for name, one in COMPILED.items()}
    there.ran(spec, timed)
    assert turned(said(there, spec)) == [
        "speed times engines as they are served: compiled, so leave them so"
    ]
    eager = override(spec, ["serving.enforce_eager=true"])
    there.ran(eager, {name: replace(one, timing=20) for name, one in EAGER.items()})
    less, stays = turned(said(there, spec))
    assert less.startswith("serving.enforce_eager=true would take about 54 s less")
    assert stays.endswith("compiled, so leave them so")
    assert turned(said(there, eager))[1].endswith("eager, as it was asked for")


def test_on_a_processor_there_is_one_way(tmp_path: Path, settings: Settings, spec: RunSpec) -> None:
    machine = Machine(tmp_path, settings, detect("cpu"))
    machine.ran(spec, TOOK)
    assert turned(said(machine, spec)) == []


def test_what_is_kept_already_costs_nothing(there: Machine, spec: RunSpec) -> None:
    """The checkpoint, and the answers of the very arm to the very questions."""
    keys = kind_of(spec.evaluation).keys(spec.evaluation, settings=there.settings)
    report = there.ran(spec, TOOK, inputs={"tasks": keys})
    made = report.arms[CANDIDATE].checkpoint.calibration
    assert made is not None
    source = digest_file(Path(spec.calibrations[0].path)).sha256
    cards = {BASELINE: None, CANDIDATE: made.model_copy(update={"source": source})}

    weights = inspect_spec(spec.baseline.model, settings=there.settings).digest

    def left(identities: Mapping[str, str | None], weights: str = weights) -> None:
        arms = {
            name: result.model_copy(update={
                "identity": identities[name],
                "checkpoint": result.checkpoint.model_copy(update={
                    "path": ROOT / "infra/sample/model", "calibration": cards[name],
                    "digest": weights,
                }),
            })
            for name, result in report.arms.items()
        }  # fmt: skip
        there.write(report.model_copy(update={"arms": arms}), there.runs[0])

    anew = "about 2 min 50 s: baseline 1 min 20 s, awq"
    left(dict.fromkeys(report.arms, "of other code"))
    assert said(there, spec).startswith(anew)
    given = {
        name: planned(there, spec, name).conditions(newest(there, name)) for name in report.arms
    }
    identities = {name: digest_of(conditions) for name, conditions in given.items()}
    left(identities)
    assert said(there, spec).startswith(anew)  # the store is another one, or was emptied
    for conditions in given.values():
        assert conditions is not None
        for key in keys.values():
            scores_of(there.settings, key, conditions).mkdir(parents=True, exist_ok=True)
    already = "baseline and awq-4bit-g128: answered by earlier runs already"
    assert said(there, spec).split("; ")[0] == already
    repeated = "evaluation.noise_floor=true"
    assert said(there, spec, repeated).startswith("about 57 s: baseline again 57 s; baseline and ")
    assert given[BASELINE] is not None
    for key in keys.values():
        scores_of(there.settings, key, [*given[BASELINE], REPEATED]).mkdir(parents=True)
    assert said(there, spec, repeated).startswith("baseline, awq-4bit-g128 and baseline again: ")
    prompts = ["evaluation.tokenizer=baseline"]
    other = override(spec, prompts)
    others = kind_of(other.evaluation).keys(other.evaluation, settings=there.settings)
    both = given[CANDIDATE]
    assert both is not None
    by_another = [*both, tokenized(weights)]
    for key in others.values():
        scores_of(there.settings, key, by_another).mkdir(parents=True)
        scores_of(there.settings, key, given[BASELINE]).mkdir(parents=True)
    report = report.model_copy(update={"spec": other})
    others_identities = {**identities, CANDIDATE: digest_of(by_another)}
    left(others_identities)
    assert said(there, spec, *prompts).split("; ")[0] == already
    left(others_identities, "of other weights")
    assert not said(there, spec, *prompts).startswith(already)
    report = report.model_copy(update={"spec": spec})
    left(identities, "of other weights")
    assert said(there, spec).startswith("about 3 min 30 s: making 45 s, baseline 1 min 20 s, awq")
    left(identities)
    assert said(there, spec).split("; ")[0] == already
    longer = said(there, spec, "candidates.awq-4bit-g128.serving.max_model_len=1024")
    assert longer.startswith("baseline: answered by earlier runs already; no earlier run tells of ")
    # One task is another: a start, its rows and what is read in them; what was timed is there.
    shorter = said(there, spec, "evaluation.tasks.gsm8k.limit=10")
    assert shorter.startswith("about 2 min 10 s: baseline 1 min 2 s, awq-4bit-g128 1 min 10 s")
    otherwise = said(there, spec, "speed.requests=16")
    assert otherwise.startswith("about 2 min 10 s: baseline 1 min 2 s, awq-4bit-g128 1 min 10 s")
    assert "tells of timing of baseline and awq-4bit-g128" in otherwise


def test_the_line_stands_in_the_table(tmp_path: Path, settings: Settings, spec: RunSpec) -> None:
    plain = override(spec, [UNTIMED, "serving.device=cpu"])
    machine = Machine(tmp_path, settings, detect("cpu"))
    machine.ran(plain, COMPILED)
    found = survey(plain, settings=settings, progress=Silent(), configured=lambda: None)
    (line,) = [one for one in found if one.name == "expected time"]
    assert line.found.startswith("about 2 min 50 s: making 45 s, baseline 1 min 2 s, ")


def test_an_engine_that_has_one_way_is_not_told_of_another(there: Machine, spec: RunSpec) -> None:
    """It serves the baseline and one candidate; another one is served by vLLM on an accelerator."""
    document = spec.model_dump(mode="json", exclude={"candidates"})
    served = {"engine": "llamacpp", "device": "cpu"}
    mixed = RunSpec.model_validate({
        **document,
        "baseline": {"model": document["baseline"]["model"], "serving": served},
        "candidates": [
            {"name": "cache", "serving": {"extra_args": ["--cache-type-k", "q8_0"]}},
            {"name": "other-engine", "serving": {"engine": "vllm", "device": "cuda"}},
        ],
    })  # fmt: skip
    there.ran(mixed, {"other-engine": Took(start=9, each=0.1, timing=9)})
    assert all("eager" not in part for part in turned(said(there, mixed)))


def test_answers_of_a_pack_are_of_one_way(there: Machine, spec: RunSpec) -> None:
    packed = spec.model_copy(update={"baseline_pack": "pack"})
    eager = override(spec, ["serving.enforce_eager=true"])
    timed = {name: replace(one, timing=20) for name, one in COMPILED.items()}
    there.ran(spec, timed)
    there.ran(eager, timed)
    assert len(turned(said(there, spec))) == 2
    assert turned(said(there, packed)) == []
