"""Several candidates on one page: ranked, each with its own sections, and none mixed up."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import report as reports
from infra.contracts import wording
from infra.contracts.records import Report
from infra.contracts.specs import ModelSpec, ServingChanges
from infra.report import ranking, tables, tradeoff_plot
from infra.report.cards import card_names
from infra.report.changed import changed
from infra.report.html import _tiles, render
from infra.report.summary import summarize
from infra.report.text import capitalized
from infra.report.words import words
from tests.infra.made_records import with_everything
from tests.infra.made_runs import make_run, make_spec
from tests.infra.report.test_report import Page

NAMES = ["quantized", "candidate-2", "candidate-3"]
WHY = "It ran out of memory <b>twice</b>."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """Return a run of four candidates, one of which came to no result."""
    folder = tmp_path_factory.mktemp("run")
    made = make_run(folder, rows=60, kept=0.5, candidates=4, failed={"candidate-4": WHY})
    return with_everything(made), folder


@pytest.fixture(scope="module")
def text(run: tuple[Report, Path]) -> str:
    return render(*run)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_run_comes_first_then_each_candidate(run: tuple[Report, Path], page: Page) -> None:
    report = run[0]
    sections = [str(attributes["id"]) for attributes in page.of("section")]
    own = ["quality", "fidelity", "speed", "memory", "rows", "calibration"]
    expected = ["ranking"]
    for name in NAMES:
        # One that is only served in another way was calibrated on nothing.
        of_candidate = own[:-1] if name == "candidate-2" else own
        expected += [f"{section}-{name}" for section in of_candidate]
    assert sections == [*expected, "time", "provenance"]
    articles = [attributes["id"] for attributes in page.of("article")]
    assert articles == [f"candidate-{name}" for name in NAMES]
    assert len(page.of("h1")) == 1
    assert report.verdict.headline.removeprefix("FAIL: ") in page.text
    for pair in report.pairs:
        assert summarize(pair).headline in page.text
        assert summarize(pair).subject in page.text


def test_one_that_failed_is_named_with_the_reason(run: tuple[Report, Path], page: Page) -> None:
    assert f"candidate-4 has no result: {WHY}" in page.text
    brief = reports.artifact_markdown(run[0]).replace("\\", "")
    assert f"candidate-4 has no result: {WHY}" in brief


def test_every_place_is_there_once_and_every_link_leads_to_one(page: Page) -> None:
    places = Counter(str(found["id"]) for _, found in page.tags if "id" in found)
    assert [place for place, times in places.items() if times > 1] == []
    links = [str(attributes["href"]) for attributes in page.of("a")]
    inner = [link[1:] for link in links if link.startswith("#")]
    assert inner == ["ranking", *(f"candidate-{name}" for name in NAMES), "time", "provenance"]
    assert set(inner) <= set(places)


def test_the_rows_of_each_candidate_are_its_own(run: tuple[Report, Path], text: str) -> None:
    parts = re.split(r'<section id="rows-([^"]+)">', text)[1:]
    shown = dict(zip(parts[::2], parts[1::2], strict=True))
    assert [*shown] == NAMES
    for pair in run[0].pairs:
        of_candidate = shown[pair.name].partition("</section>")[0]
        for task in pair.candidate.tasks.values():
            assert f'href="{task.samples}"' in of_candidate
        metric = next(m for m in pair.comparison.metrics if m.task == "gsm8k" and m.primary)
        assert f"60 rows: {metric.lost} lost, {metric.gained} gained" in of_candidate


def test_what_each_arm_is_stands_in_the_provenance(run: tuple[Report, Path], text: str) -> None:
    report = run[0]
    provenance = text.partition('<section id="provenance">')[2]
    for name, arm in report.arms.items():
        assert f"Cut, {name}" in provenance
        assert arm.server.log in provenance
        assert f"{capitalized(name)} engine" in provenance
    assert "--kv-cache-dtype fp8" in text


def test_the_brief_has_the_ranking_and_every_candidate(run: tuple[Report, Path]) -> None:
    report = run[0]
    brief = reports.artifact_markdown(report)
    assert brief.startswith("# ❌ FAIL\n")
    heads = re.findall(r"^# `([a-z0-9-]+)`: ", brief, re.MULTILINE)
    assert heads == NAMES
    assert "<" not in re.sub(r"\\<", "", brief)
    for table in re.findall(r"(?:^\|.*\|\n?)+", brief, re.MULTILINE):
        assert len({line.count("|") for line in table.replace("\\|", "").splitlines()}) == 1
    table = reports.artifact_table(report)
    assert table == [dict(row) for row in ranking.table(report).rows]
    assert reports.artifact_description(report).startswith("❌ FAIL: 0 of 4 candidates pass")
    assert "data:image/png;base64," in reports.artifact_description(report)


def test_every_candidate_has_a_card_of_its_own(run: tuple[Report, Path]) -> None:
    report = run[0]
    names = card_names(report)
    assert names == [f"model-card-{name}.md" for name in NAMES]
    cards = {pair.name: reports.model_card(pair) for pair in report.pairs}
    for pair in report.pairs:
        assert f"sha256:{pair.candidate.checkpoint.digest}" in cards[pair.name]
    served = cards["candidate-2"]
    assert "## What the change cost" in served
    assert "--dtype auto --kv-cache-dtype fp8" in served
    assert "base_model_relation" not in served
    assert "### Calibration" not in served
    assert "that it is quantized" not in served
    assert "## What quantization cost" in cards["candidate-3"]


def _matter(report: Report) -> dict[str, dict[str, Any]]:
    """Return the front matter of each candidate's card."""
    cards = {pair.name: reports.model_card(pair) for pair in report.pairs}
    return {name: yaml.safe_load(card.split("---\n")[1]) for name, card in cards.items()}


def _with_checkpoints(report: Report, **changes: dict[str, Any]) -> Report:
    """Return a report whose arms have other checkpoints: `candidate_2={"size_bytes": 1}`."""
    arms = dict(report.arms)
    for key, fields in changes.items():
        arm = arms[name := key.replace("_", "-")]
        checkpoint = arm.checkpoint.model_copy(update=fields)
        arms[name] = arm.model_copy(update={"checkpoint": checkpoint})
    return report.model_copy(update={"arms": arms})


def _with_candidate(report: Report, place: int, **changes: Any) -> Report:
    candidates = list(report.spec.candidates)
    candidates[place] = candidates[place].model_copy(update=changes)
    spec = report.spec.model_copy(update={"candidates": tuple(candidates)})
    return report.model_copy(update={"spec": spec})


def test_only_weights_of_its_own_are_quantized_from_the_baseline(
    run: tuple[Report, Path],
) -> None:
    awq = {"quant_method": "awq", "bits": 4}
    both = _with_checkpoints(
        run[0], baseline={"quantization": awq}, candidate_2={"quantization": awq}
    )
    assert both.arms["candidate-2"].checkpoint.digest == both.baseline.checkpoint.digest
    found = {name: matter.get("base_model_relation") for name, matter in _matter(both).items()}
    assert found == {"quantized": "quantized", "candidate-2": None, "candidate-3": "quantized"}
    ready = _with_checkpoints(both, candidate_2={"digest": "f" * 64})
    assert _matter(ready)["candidate-2"]["base_model_relation"] == "quantized"


def test_a_card_names_the_model_and_the_recipe_of_its_candidate(run: tuple[Report, Path]) -> None:
    def names(report: Report) -> list[str]:
        return [matter["model-index"][0]["name"] for matter in _matter(report).values()]

    assert names(run[0]) == [
        "Qwen2.5-7B-Instruct-awq-4bit-g128", "Qwen2.5-7B-Instruct-candidate-2",
        "Qwen2.5-7B-Instruct-awq-4bit-g64",
    ]  # fmt: skip
    tuned = ModelSpec(id="me/tuned")
    other = _with_candidate(_with_candidate(run[0], 1, model=tuned), 2, model=tuned)
    assert names(other)[1:] == ["tuned", "tuned-awq-4bit-g64"]
    bases = [matter["base_model"] for matter in _matter(other).values()]
    assert bases == ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "me/tuned"]


def test_a_card_has_the_versions_that_made_its_own_checkpoint(run: tuple[Report, Path]) -> None:
    report = _with_checkpoints(
        run[0],
        quantized={"versions": {"python": "3.11.7", "torch": "2.8.0", "autoawq": "0.2.9"}},
        candidate_3={"versions": {"torch": "2.9.0", "autoawq": "0.3.0"}},
    )
    versions = {"version of torch": "2.8.0", "version of autoawq": "0.2.9"}
    report = report.model_copy(update={"provenance": report.provenance | versions})
    cards = {pair.name: reports.model_card(pair) for pair in report.pairs}
    for name, torch, autoawq in (
        ("quantized", "2.8.0", "0.2.9"),
        ("candidate-3", "2.9.0", "0.3.0"),
    ):
        assert f"| torch | {torch} |" in cards[name]
        assert f"| autoawq | {autoawq} |" in cards[name]
    assert "| torch |" not in cards["candidate-2"]
    assert "| autoawq |" not in cards["candidate-2"]
    assert all("| transformers | 5.2.0 |" in card for card in cards.values())


def test_the_confidence_is_that_of_the_verdicts(run: tuple[Report, Path], page: Page) -> None:
    """Each of four is judged with its part of the chance to err: 98.75 %, not 95 %."""
    report = run[0]
    whole = "shown with 98.75 % confidence (95 % for all 4 candidates together)"
    for pair in report.pairs:
        summary = summarize(pair)
        assert whole in summary.margin
        assert "98.75 % limit" in " ".join(summary.reasons)
    assert "98.75 of 100 such intervals" in page.text
    [alone] = report.spec.candidates[:1]
    spec = report.spec.model_copy(update={"candidates": (alone,)})
    one = report.model_copy(
        update={"spec": spec, "judged": {alone.name: report.judged[alone.name]}}
    )
    assert "shown with 95 % confidence, and" in summarize(one.pairs[0]).margin
    assert "95 of 100 such intervals" in dict(words(one))["Interval"]


def test_p_values_are_adjusted_over_tasks_and_candidates(
    run: tuple[Report, Path], page: Page
) -> None:
    looked_at = "looking at several tasks of several candidates"
    assert f"Holm: the same, corrected for {looked_at}." in page.text
    assert page.text.count(f"Holm adjusts p-values for {looked_at};") == len(NAMES)
    assert "two arms" not in page.text.lower()


def test_engines_that_differ_are_both_named(run: tuple[Report, Path]) -> None:
    report = run[0]
    pair = report.pairs[1]
    assert "both served by vLLM 0.32.0 on AMD EPYC 7B13" in summarize(pair).subject
    server = pair.candidate.server.model_copy(update={"version": "0.33.0"})
    arm = pair.candidate.model_copy(update={"server": server})
    other = report.model_copy(update={"arms": report.arms | {pair.name: arm}})
    assert summarize(other.pairs[1]).subject.endswith(
        "served by vLLM 0.32.0 on AMD EPYC 7B13 and by vLLM 0.33.0 on AMD EPYC 7B13"
    )


def test_what_was_made_here_did_not_come_so(run: tuple[Report, Path]) -> None:
    report = run[0]
    assert summarize(report.pairs[1]).subject.startswith("as it came and with --kv-cache-dtype fp8")
    recipe = report.spec.candidates[0].quantization
    baseline = report.spec.baseline.model_copy(update={"quantization": recipe})
    spec = report.spec.model_copy(update={"baseline": baseline})
    made = report.model_copy(update={"spec": spec})
    assert summarize(made.pairs[2]).subject.startswith(
        "as 4-bit AWQ in groups of 128 and as 4-bit AWQ in groups of 64, both served by"
    )


@pytest.mark.parametrize(("size", "kind"), [
    (0.3, "Bought"), (1.0, "Alike"), (1.02, "Alike"), (1.3, "Cost"),
])  # fmt: skip
def test_weights_are_bought_or_cost(run: tuple[Report, Path], size: float, kind: str) -> None:
    report = run[0]
    pair = report.pairs[1]
    whole = report.baseline.checkpoint.size_bytes
    bench, before = pair.candidate.bench, report.baseline.bench
    assert bench is not None and before is not None and before.memory.weights_bytes
    memory = bench.memory.model_copy(
        update={"weights_bytes": round(size * before.memory.weights_bytes)}
    )
    arm = pair.candidate.model_copy(update={"bench": bench.model_copy(update={"memory": memory})})
    comparison = pair.comparison.model_copy(update={"size_ratio": size})
    judgement = pair.judgement.model_copy(update={"comparison": comparison})
    report = _with_checkpoints(
        report.model_copy(
            update={
                "arms": report.arms | {pair.name: arm},
                "judged": report.judged | {pair.name: judgement},
            }
        ),
        candidate_2={"size_bytes": round(size * whole)},
    )
    tiles = _tiles(report.pairs[1])
    found = {what.partition(":")[0]: (had, number) for had, number, what in tiles}
    assert found["of the size on disk"] == (kind, f"{100 * size:.0f} %")
    assert found["of the memory, loaded"] == (kind, f"{100 * size:.0f} %")


@pytest.mark.parametrize(("change", "words"), [
    ({}, "with --kv-cache-dtype fp8"),
    ({"serving": ServingChanges(dtype="float16", variables={"A": "b c"})},
     "with A=b c, dtype float16"),
    ({"model": ModelSpec(id="Qwen/other"), "serving": None}, "as Qwen/other"),
    ({"model": ModelSpec(id="Qwen/other")}, "as Qwen/other with --kv-cache-dtype fp8"),
    ({"quantization": make_spec().candidates[0].quantization, "serving": None},
     "as 4-bit AWQ in groups of 128"),
])  # fmt: skip
def test_what_a_candidate_changes_is_named(
    run: tuple[Report, Path], change: dict[str, object], words: str
) -> None:
    assert changed(_with_candidate(run[0], 1, **change).pairs[1]) == words


def test_the_baseline_alone_is_measured_and_judged_by_nothing(run: tuple[Report, Path]) -> None:
    report, folder = run
    alone = report.model_copy(
        update={
            "spec": report.spec.model_copy(update={"candidates": ()}),
            "arms": {"baseline": report.baseline},
            "judged": {},
            "failed": {},
        }
    )
    page = Page(render(alone, folder))
    assert [attributes["id"] for attributes in page.of("section")] == [
        "ranking", "time", "provenance",
    ]  # fmt: skip
    assert "Qwen/Qwen2.5-7B-Instruct, measured" in page.text
    score = report.baseline.tasks["gsm8k"].metrics["exact_match,strict-match"].value
    assert f"{100 * score:.1f} % ±" in page.text
    assert len(ranking.standings(alone)) == 1
    assert tradeoff_plot.draw(alone) is None


def test_a_page_without_a_result_points_to_no_card(tmp_path: Path) -> None:
    failed = {"quantized": WHY, "candidate-2": WHY}
    report = make_run(tmp_path, rows=20, candidates=2, failed=failed)
    for found, has_card in ((report, False), (make_run(tmp_path / "one", rows=20), True)):
        footer = Page(render(found, tmp_path if found is report else tmp_path / "one")).text
        footer = footer.partition("Made by Assay.")[2]
        assert ("for a model's page: model-card.md; every row" in footer) is has_card
        assert ("report.md; every row" in footer) is not has_card


def test_a_candidate_held_against_another_one_has_a_table_of_it(tmp_path: Path) -> None:
    report = make_run(tmp_path, rows=40, candidates=2, against="quantized")
    one, other = report.pairs
    assert tables.against(one) is None
    found = tables.against(other)
    assert found is not None
    first, beside = found.rows[0], other.judgement.against
    assert beside is not None
    assert (first["Task"], found.caption) == ("gsm8k", "Beside quantized")
    metric = beside.metrics[0]
    assert first["Difference"] == wording.difference(metric.difference, metric.unit)
    whole = other.comparison.metrics[0]
    assert first["From the baseline"] == wording.difference(whole.difference, whole.unit)
    assert first["Difference"] != first["From the baseline"]
    text = Page(render(report, tmp_path)).text
    assert text.count("Beside quantized") == 1
    assert "held against quantized instead of the baseline" in text
    assert "held against quantized instead" in reports.artifact_markdown(report)
