"""What earlier runs tell: flips of the candidates that count and of no others."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.specs import BASELINE, AdapterSpec, CandidateSpec, ModelSpec, VerdictSpec
from infra.contracts.specs.serving_changes import ServingChanges
from infra.judging.earlier_runs import Earlier, Flips, _Rows, learn, recipe_of
from infra.judging.power import ASSUMED, plan
from infra.report.trend import rows
from infra.stages.run_key import run_key
from infra.store import history
from infra.store.content import digest_of
from infra.store.settings import Settings
from infra.suite.harness.prepared import check_suite
from tests.infra.made_runs import GROUP, make_run

SUITE = {"gsm8k": 200, "arc": 100}


def write_table(folder: Path, *runs: dict[str, object]) -> Path:
    """Write a table of runs: one row an arm for each task, one dictionary a task of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"label": "nightly", "model": "m", "primary": True, "metric": "acc,none"}
    with (folder / history.NAME).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(history.COLUMNS))
        writer.writeheader()
        for number, run in enumerate(runs):
            here = {
                "run_id": f"run-{number}", "created": f"2026-11-{number + 1:02}T00:00:00+00:00",
                "questions": f"questions-{number}", "checkpoint": "c", "recipe": "four",
            }  # fmt: skip
            for arm in (BASELINE, "candidate"):
                writer.writerow({**common, **here, "arm": arm, **run})
    return folder


def write_history(folder: Path, *runs: dict[str, object]) -> Path:
    assert history.take_over(write_table(folder, *runs)) is None
    return folder


def learned(folder: Path, *tasks: str, recipes: Collection[str] = ()) -> Earlier:
    tasks = tasks or ("gsm8k",)
    return learn(folder, label="nightly", model="m", tasks=tasks, recipes=recipes)


def test_flips_are_counted_in_the_candidates_rows_of_the_kind(tmp_path: Path) -> None:
    run = {"task": "gsm8k", "n": 200, "lost": 30, "gained": 10}
    others = [
        {**run, "label": "adhoc"},
        {**run, "model": "another"},
        {**run, "primary": False},
        {**run, "task": "arc"},
        {**run, "lost": ""},
        {**run, "n": 19, "lost": 19, "gained": 0},
    ]
    earlier = learned(write_history(tmp_path, run, *others))
    assert earlier.flips == {"gsm8k": Flips(rows=200, flipped=40)}
    assert earlier.runs == {"gsm8k": ("run-0",)}
    power = plan(SUITE, VerdictSpec(), earlier)
    # 40 of 200 rows, and 10 of the 100 that the assumption weighs
    assert power.tasks["gsm8k"].flip_rate == pytest.approx(50 / 300)
    assert power.tasks["arc"].flip_rate == ASSUMED
    assert power.learned_from == ("run-0",)


def test_the_newest_ten_measurements_count_each_once(tmp_path: Path) -> None:
    run = {"task": "gsm8k", "n": 100, "gained": 0}
    old = [{**run, "lost": 90} for _ in range(3)]
    new = [{**run, "lost": lost} for lost in range(10)]
    reused = [{**run, "lost": 9, "questions": "questions-12"} for _ in range(5)]
    earlier = learned(write_history(tmp_path, *old, *new, *reused))
    assert earlier.flips["gsm8k"] == Flips(rows=1000, flipped=sum(range(10)))
    assert earlier.runs["gsm8k"] == ("run-17", *(f"run-{number}" for number in range(11, 2, -1)))


def test_no_flips_in_a_small_run_do_not_plan_with_none(tmp_path: Path) -> None:
    history = write_history(tmp_path, {"task": "gsm8k", "n": 40, "lost": 0, "gained": 0})
    power = plan({"gsm8k": 40}, VerdictSpec(), learned(history))
    assert power.tasks["gsm8k"].flip_rate == pytest.approx(10 / 140)
    assert power.smallest_margin_points > 5


def test_every_candidate_of_a_run_counts(tmp_path: Path) -> None:
    report = make_run(tmp_path / "run", rows=60, candidates=3)
    rows.record(report, tmp_path)
    model = report.spec.baseline.model.id
    earlier = learn(tmp_path, label="sample", model=model, tasks=[*report.baseline.tasks])
    flipped = sum(
        metric.lost + metric.gained
        for pair in report.pairs
        for metric in pair.comparison.metrics
        if (metric.task, metric.primary) == ("gsm8k", True)
    )
    assert earlier.flips["gsm8k"] == Flips(rows=180, flipped=flipped)


@pytest.mark.parametrize(
    "text", [None, b"", b"name,price\nx,1\n", b"run_id,label\nx", b"\xff\xfe\x00", b'"' * 300_000]
)
def test_a_history_that_cannot_be_read_tells_nothing(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / history.NAME).write_bytes(text)
    assert learned(tmp_path).flips == {}


def test_a_history_of_real_reports_is_understood(tmp_path: Path) -> None:
    report = make_run(tmp_path / "run", rows=60)
    rows.record(report, tmp_path)
    spec = report.spec
    tasks = ("gsm8k", GROUP, "gpqa_main_zeroshot")
    model = spec.baseline.model.id
    earlier = learn(tmp_path, label=spec.results.label, model=model, tasks=tasks)
    [pair] = report.pairs
    primary = {m.task: m for m in pair.comparison.metrics if m.primary and not m.subtask_of}
    assert {task: flips.flipped for task, flips in earlier.flips.items()} == {
        task: metric.lost + metric.gained for task, metric in primary.items()
    }
    assert {flips.rows for flips in earlier.flips.values()} == {60}


def test_a_table_without_a_database_tells_the_same(tmp_path: Path) -> None:
    run = {"task": "gsm8k", "n": 100, "lost": 8, "gained": 2}
    earlier = learned(write_table(tmp_path, run))
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"], "looking changes nothing"
    assert earlier.flips == {"gsm8k": Flips(rows=100, flipped=10)}
    write_history(tmp_path, run)
    assert learned(tmp_path) == earlier


def test_candidates_with_the_recipes_count_before_others(tmp_path: Path) -> None:
    run = {"task": "gsm8k", "n": 100, "gained": 0}
    write_history(tmp_path, {**run, "lost": 30}, {**run, "lost": 3, "recipe": "eight"})
    for recipes, flips, runs in (
        (["four"], Flips(100, 30), ("run-0",)),
        (["eight", "new"], Flips(100, 3), ("run-1",)),
        (["four", "eight"], Flips(200, 33), ("run-1", "run-0")),
        (["new"], Flips(200, 33), ("run-1", "run-0")),
        ([], Flips(200, 33), ("run-1", "run-0")),
    ):
        earlier = learned(tmp_path, recipes=recipes)
        assert (earlier.flips["gsm8k"], earlier.runs["gsm8k"]) == (flips, runs), recipes


@pytest.mark.parametrize("recipes", [(), ("four",)])
def test_no_row_is_read_but_those_that_count(tmp_path: Path, recipes: tuple[str, ...]) -> None:
    """Newest first by an index: nothing is sorted, and nothing after the tenth is read."""
    write_history(tmp_path, {"task": "gsm8k", "n": 100, "lost": 1, "gained": 1})
    statements: list[str] = []
    with history.opened(tmp_path) as connection:
        connection.set_trace_callback(statements.append)
        assert len([*_Rows(connection, "nightly", "m").of_candidates("gsm8k", recipes)]) == 1
        connection.set_trace_callback(None)
        (statement,) = statements
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert steps == ["SEARCH history USING INDEX rows_of_kind (label=? AND model=? AND task=?)"]


def test_what_tells_one_change_from_another() -> None:
    four = sample().candidates[0]
    assert recipe_of(four) == recipe_of(four.model_copy(update={"name": "other"}))
    assert four.quantization is not None
    recipe = four.quantization.model_copy(update={"group_size": 64})
    otherwise = four.model_copy(update={"serving": ServingChanges(dtype="float16")})
    others = [four.model_copy(update={"quantization": recipe}), otherwise, four]
    assert len({recipe_of(other) for other in others}) == 3
    # As it was while a run had one candidate, all of whose change was its recipe.
    assert recipe_of(four) == digest_of(four.quantization.model_dump(mode="json"))


def test_what_history_says_is_in_the_key_of_a_run_where_it_makes_the_margin(
    tmp_path: Path,
) -> None:
    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    tasks = '[{"name": "gsm8k", "limit": 5}]'
    spec = override(sample(), ["verdict.flip_rate=null", f"evaluation.tasks={tasks}"])
    refuse = override(spec, ["verdict.if_unresolvable=refuse"])
    widen = override(spec, ["verdict.if_unresolvable=widen"])
    said = override(widen, ["verdict.flip_rate=0.2"])
    specs = [refuse, said, widen]
    assert run_key(widen, settings) is None  # how many rows there are is not known yet
    check_suite(spec.evaluation, settings=settings, progress=Silent())
    before = [run_key(one, settings) for one in specs]
    assert None not in before
    assert len({*before}) == 3
    assert [run_key(one, settings) for one in specs] == before

    model = spec.baseline.model.id
    run = {"label": "sample", "model": model, "task": "gsm8k", "n": 600, "lost": 0, "gained": 0}
    write_history(settings.runs, run)
    assert learn(settings.runs, label="sample", model=model, tasks=["gsm8k"]).flips
    after = [run_key(one, settings) for one in specs]
    assert after[:2] == before[:2]
    assert after[2] not in {before[2], None}


def test_fields_that_came_later_make_no_other_change_of_one_of_before() -> None:
    """Digests of when a candidate had neither an adapter nor an engine of its own."""
    changes: dict[str, dict[str, Any]] = {
        "ac1654cf5cac18aed5c25d20dec1594d54fb555921175f3232d2777e9b647187": {
            "serving": ServingChanges(dtype="bfloat16")
        },
        "484e39d283b23f2d36b75571e75ed2b5ca327826075d9d687e747c81592c4854": {
            "model": ModelSpec(source="local", id="m")
        },
    }
    for digest, change in changes.items():
        assert recipe_of(CandidateSpec(name="x", **change)) == digest
    tuned = CandidateSpec(name="x", adapter=AdapterSpec(id="folder"))
    merged = CandidateSpec(name="x", adapter=AdapterSpec(id="folder", merge=True))
    assert recipe_of(tuned) != recipe_of(merged)
