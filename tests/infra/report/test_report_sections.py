"""Every record has its place in the report, and leaves none where it is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import report as reports
from infra.contracts import wording
from infra.contracts.records import Bench, Origin, Quantization, Report
from infra.contracts.specs import (
    BASELINE,
    EmbeddingSpec,
    GgufSpec,
    ModelSpec,
    ServingChanges,
    SpeedSpec,
    VerdictSpec,
)
from infra.judging import gaps
from infra.judging.pairing import RunRows
from infra.judging.verdict import decide
from infra.report import prose, speed_plot, tables
from infra.report.html import render
from infra.report.summary import summarize
from infra.report.trend.rows import rows_of
from tests.infra.made_records import make_bench, with_everything
from tests.infra.made_runs import GROUP, make_run, of_pair
from tests.infra.report.test_report import Page


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, rows=120), folder


@pytest.fixture(scope="module")
def full(bare: tuple[Report, Path]) -> tuple[Report, Path]:
    report, folder = bare
    found = gaps.compare(report.baseline, report.arms["quantized"], RunRows(folder), 0.95)
    comparison = report.pairs[0].comparison.model_copy(update={"gaps": found})
    return with_everything(of_pair(report, comparison=comparison)), folder


@pytest.mark.parametrize("arm", ["baseline", "quantized"])
def test_the_time_of_a_part_of_the_answers_is_not_told(full: tuple[Report, Path], arm: str) -> None:
    """An arm that was killed and went on, or whose task was asked more rows of."""
    report, _ = full
    result = report.arms[arm]
    tasks = {**result.tasks, "gsm8k": result.tasks["gsm8k"].model_copy(update={"kept": 3})}
    part = result.model_copy(update={"tasks": tasks})
    known = report.model_copy(update={"arms": {**report.arms, arm: part}})

    def told(report: Report) -> dict[str, list[str]]:
        [pair] = report.pairs
        rows = {row[""]: row for row in tables.memory(pair).rows}
        return {
            name: [rows[name][column] for column in ("Baseline", "Candidate", "Ratio")]
            for name in ("Evaluation", "Documents a second in the tasks")
        }

    before, after = told(report), told(known)
    place = ["baseline", "quantized"].index(arm)
    for name, cells in after.items():
        assert cells[place] == cells[2] == "-" != before[name][place]
        assert cells[1 - place] == before[name][1 - place]
    [pair] = known.pairs
    said = "not told of an arm of which answers were kept"
    assert said in prose.evaluation_time_note(pair)
    assert said not in prose.evaluation_time_note(report.pairs[0])
    times = ("evaluation_seconds", "documents_per_second")
    for row in rows_of(known):
        assert all((row[time] is None) == (row["arm"] == arm) for time in times)


def _drop(**fields: Any) -> Callable[[Report], Report]:
    return lambda report: report.model_copy(update=fields)


def _drop_judged(**fields: Any) -> Callable[[Report], Report]:
    return lambda report: of_pair(report, **fields)


def _drop_compared(**fields: Any) -> Callable[[Report], Report]:
    def dropped(report: Report) -> Report:
        [pair] = report.pairs
        return of_pair(report, comparison=pair.comparison.model_copy(update=fields))

    return dropped


def _drop_bench(report: Report) -> Report:
    arms = {arm: found.model_copy(update={"bench": None}) for arm, found in report.arms.items()}
    return report.model_copy(update={"arms": arms})


def _caveats(report: Report) -> tuple[str, ...]:
    [pair] = report.pairs
    return summarize(pair).caveats


PARTS: list[tuple[Callable[[Report], Report], str, str]] = [
    (_drop(power=None), "Planned before the run", "in 2 earlier runs, a true loss of 3.7 points"),
    (_drop_judged(alert=None), "worse than earlier ones", "driver: 550.54 → 560.28"),
    (_drop_judged(overlap=None), "share 13 words in a row", "19 of 360 rows of the tasks"),
    (_drop_compared(noise=None), "in another order", "Flips by chance"),
    (_drop_compared(fidelity=None), "lower bound", "96.4 %"),
    (_drop_compared(gaps=None), "how close the choices are", "Flips predicted"),
    (_drop_compared(lengths={}), "Length of written answers", "112.5"),
    (_drop_bench, "vllm bench serve", "59 → 71.2 (1.21×, slower)"),
]


@pytest.fixture(scope="module")
def shown(full: tuple[Report, Path]) -> tuple[str, str]:
    """The page's text and the Markdown of a run with all records."""
    return Page(render(*full)).text, reports.artifact_markdown(full[0])


@pytest.mark.parametrize(("drop", "mark", "fact"), PARTS)
def test_a_part_is_there_with_its_record_and_gone_without(
    full: tuple[Report, Path],
    shown: tuple[str, str],
    drop: Callable[[Report], Report],
    mark: str,
    fact: str,
) -> None:
    for text in shown:
        assert mark in text
        assert fact in text
    without = reports.artifact_markdown(drop(full[0]))
    assert mark not in without
    assert without.count("## Quality") == 1


def test_a_page_without_records_has_none_of_the_parts(bare: tuple[Report, Path]) -> None:
    text = Page(render(*bare)).text
    for _, mark, _ in PARTS:
        assert mark not in text


def test_sections_of_a_full_run_are_all_linked(full: tuple[Report, Path]) -> None:
    page = Page(render(*full))
    sections = [attributes["id"] for attributes in page.of("section")]
    assert sections == [
        "quality", "gaps", "fidelity", "speed", "memory", "rows", "calibration", "time",
        "provenance",
    ]  # fmt: skip
    links = [str(attributes["href"]) for attributes in page.of("a")]
    assert [link[1:] for link in links if link.startswith("#")] == sections
    assert page.of("img")
    assert all(attributes["alt"] for attributes in page.of("img"))
    boxes = [a for a in page.of("div") if a.get("class") == "box" and "aria-label" in a]
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in boxes)


def test_first_lines_say_where_it_is_slower(
    full: tuple[Report, Path], shown: tuple[str, str]
) -> None:
    report, _ = full
    text, markdown = shown
    slower = "The candidate is slower with prompts of 128 tokens and 16 requests at a time"
    assert text.index(slower) < text.index("Quality: what it cost")
    assert markdown.index(slower) < markdown.index("## Quality")
    assert slower in reports.model_card(report.pairs[0])
    assert "It is slower at 1 more of the points that were measured." in text

    arms = {
        arm: found.model_copy(update={"bench": make_bench(candidate=False)})
        for arm, found in report.arms.items()
    }
    alike = report.model_copy(update={"arms": arms})
    assert "slower" not in reports.artifact_markdown(alike)
    assert not tables.speed(alike.pairs[0]).marked  # type: ignore[union-attr]


def test_goodput_stands_beside_the_medians_if_an_objective_is_named(
    full: tuple[Report, Path],
) -> None:
    report, _ = full
    speed = SpeedSpec(objective_ttft_ms=250, objective_tpot_ms=20)
    promised = report.model_copy(update={"spec": report.spec.model_copy(update={"speed": speed})})
    head = "Goodput, requests a second (first token ≤ 250 ms, each further ≤ 20 ms)"
    table, without = tables.speed(promised.pairs[0]), tables.speed(report.pairs[0])
    assert table and without and head not in without.rows[0]
    assert table.rows[0][head] == "- → -", "an earlier version timed"

    def timed(candidate: bool) -> Bench:
        found = make_bench(candidate=candidate)
        answers = ((300.0 if candidate else 200.0, 10.0), (200.0, 10.0))
        points = [
            one.model_copy(update={"answers": answers, "seconds": 4.0}) for one in found.points
        ]
        return found.model_copy(update={"points": tuple(points)})

    arms = {
        arm: found.model_copy(update={"bench": timed(arm != BASELINE)})
        for arm, found in promised.arms.items()
    }
    table = tables.speed(promised.model_copy(update={"arms": arms}).pairs[0])
    assert table and table.rows[0][head] == "0.5 → 0.25 (0.50×, slower)"
    assert (0, head) in table.marked


@pytest.mark.parametrize(("differ", "sentence"), [
    ({}, None),
    ({"gsm8k": 0, GROUP: 0}, None),
    ({"gsm8k": 1}, "1 of 360 questions was put to the candidate in other words, by its own "
                   "tokenizer or chat template."),
    ({"gsm8k": 120, GROUP: 5}, "125 of 360 questions were put to the candidate in other words, by "
                               "its own tokenizer or chat template."),
])  # fmt: skip
def test_questions_in_other_words_are_counted_in_the_first_lines(
    full: tuple[Report, Path], differ: dict[str, int], sentence: str | None
) -> None:
    report = _drop_compared(prompts_differ=differ)(full[0])
    found = [caveat for caveat in _caveats(report) if "in other words" in caveat]
    assert found == ([sentence] if sentence else [])
    if sentence:
        assert sentence in Page(render(report, full[1])).text
        assert sentence in reports.artifact_markdown(report)
        assert sentence in reports.model_card(report.pairs[0])


def test_another_tokenizer_is_in_the_first_lines(full: tuple[Report, Path]) -> None:
    parts = ("vocabulary: 8 and 9 tokens", "chat template: they differ")
    report = _drop_compared(tokenizer_differs=parts)(full[0])
    sentence = (
        "Its tokenizer is not the baseline's: vocabulary: 8 and 9 tokens; "
        "chat template: they differ."
    )
    assert sentence in _caveats(report)
    assert sentence in Page(render(report, full[1])).text
    assert not any("Its tokenizer" in caveat for caveat in _caveats(full[0]))


def test_answers_that_ended_within_a_thought_are_in_the_first_lines(
    full: tuple[Report, Path],
) -> None:
    report = full[0]
    tasks = report.baseline.tasks
    cut = tasks["gsm8k"].model_copy(update={"unfinished": 7})
    baseline = report.baseline.model_copy(update={"tasks": {**tasks, "gsm8k": cut}})
    changed = report.model_copy(update={"arms": {**report.arms, "baseline": baseline}})
    sentence = f"7 of {cut.n} answers of the baseline on gsm8k ended while it still thought"
    assert any(sentence in caveat for caveat in _caveats(changed))
    assert not any("still thought" in caveat for caveat in _caveats(report))


def test_a_candidate_on_another_engine_differs_in_two_things(full: tuple[Report, Path]) -> None:
    [name] = [arm for arm in full[0].arms if arm != "baseline"]
    candidate = full[0].arms[name]

    def served(digest: str) -> Report:
        server = candidate.server.model_copy(update={"engine": "llamacpp"})
        checkpoint = candidate.checkpoint.model_copy(update={"digest": digest})
        moved = candidate.model_copy(update={"server": server, "checkpoint": checkpoint})
        return full[0].model_copy(update={"arms": {**full[0].arms, name: moved}})

    sentence = "in two things at once, its checkpoint and its engine (llama.cpp instead of vLLM)"
    assert any(sentence in caveat for caveat in _caveats(served(candidate.checkpoint.digest)))
    assert sentence in Page(render(served(candidate.checkpoint.digest), full[1])).text
    alone = served(full[0].baseline.checkpoint.digest)
    for report in (full[0], alone):
        assert not any("two things at once" in caveat for caveat in _caveats(report))


def test_a_candidate_that_rounds_nothing_differs_in_its_engine_alone(
    full: tuple[Report, Path],
) -> None:
    [pair] = full[0].pairs
    server = pair.candidate.server.model_copy(update={"engine": "llamacpp"})
    moved = pair.candidate.model_copy(update={"server": server})
    change = pair.change.model_copy(
        update={"quantization": GgufSpec(type="f16"),
                "serving": ServingChanges(engine="llamacpp")}
    )  # fmt: skip
    spec = full[0].spec.model_copy(update={"candidates": (change,)})
    arms = {**full[0].arms, pair.name: moved}
    report = full[0].model_copy(update={"spec": spec, "arms": arms})
    found = _caveats(report)
    assert any("own weights on another engine (llama.cpp instead of vLLM), stored as GGUF F16" in
               caveat for caveat in found)  # fmt: skip
    assert not any("two things at once" in caveat for caveat in found)


def test_what_was_wanted_and_not_measured_is_in_the_first_lines(
    full: tuple[Report, Path],
) -> None:
    report = full[0]
    baseline = report.baseline.model_copy(update={"not_measured": ("not timed. It died.",)})
    report = report.model_copy(update={"arms": {**report.arms, "baseline": baseline}})
    assert "The baseline: not timed. It died." in _caveats(report)
    assert "The baseline: not timed. It died." in Page(render(report, full[1])).text


def test_many_answers_that_were_cut_weaken_the_verdict(full: tuple[Report, Path]) -> None:
    report = full[0]
    assert not any("token limit" in caveat for caveat in _caveats(report))
    baseline = report.arms["baseline"]
    cut = baseline.tasks["gsm8k"].model_copy(update={"truncated": 60})
    arms = report.arms | {
        "baseline": baseline.model_copy(update={"tasks": baseline.tasks | {"gsm8k": cut}})
    }
    caveats = _caveats(report.model_copy(update={"arms": arms}))
    assert any("of the baseline on gsm8k ran into the token limit" in caveat for caveat in caveats)


def test_a_large_overlap_weakens_the_verdict_in_the_first_lines(full: tuple[Report, Path]) -> None:
    report = full[0]
    many = "19 of 360 rows of the tasks share 13 words in a row"
    assert any(many in caveat for caveat in _caveats(report))
    [pair] = report.pairs
    few = pair.judgement.overlap.model_copy(update={"found": {"gsm8k": 3}})  # type: ignore[union-attr]
    caveats = _caveats(of_pair(report, overlap=few))
    assert not any("words in a row" in caveat for caveat in caveats)


def test_timings_of_different_runs_are_a_caveat(full: tuple[Report, Path]) -> None:
    report = full[0]
    baseline = report.arms["baseline"]
    reused = baseline.model_copy(
        update={"bench": baseline.bench.model_copy(update={"reused": True})}
    )  # type: ignore[union-attr]
    caveats = _caveats(report.model_copy(update={"arms": report.arms | {"baseline": reused}}))
    assert any("timed in different runs" in caveat for caveat in caveats)
    assert not any("timed in different runs" in caveat for caveat in _caveats(report))


def test_one_arm_alone_is_timed(full: tuple[Report, Path]) -> None:
    report, folder = full
    alone = report.arms["quantized"].model_copy(update={"bench": None})
    half = report.model_copy(update={"arms": report.arms | {"quantized": alone}})
    assert speed_plot.draw(half.pairs[0]) is None
    assert "59 → -" in Page(render(half, folder)).text
    assert "times as many tokens" not in reports.artifact_markdown(half)


@pytest.mark.parametrize(("status", "spec", "widened", "word"), [
    ("FAIL", {}, None, "❌"),
    ("PASS", {"margin_points": 30, "task_margin_points": 40}, 1.0, "✅"),
    ("INCONCLUSIVE", {"margin_points": 1, "task_margin_points": 40}, None, "⚠️"),
])  # fmt: skip
def test_a_verdict_is_a_word_with_a_colour(
    bare: tuple[Report, Path], status: str, spec: dict[str, float], widened: float | None, word: str
) -> None:
    report, folder = bare
    verdict = VerdictSpec.model_validate(spec)
    comparison = report.pairs[0].comparison
    if status == "INCONCLUSIVE":
        unclear = comparison.pooled.model_copy(update={"high": 0.001})  # type: ignore[union-attr]
        comparison = comparison.model_copy(update={"pooled": unclear})
    judged = decide(comparison, verdict, what="Quantization", widened_from=widened)
    report = of_pair(report, verdict=judged).model_copy(
        update={"spec": report.spec.model_copy(update={"verdict": verdict})}
    )
    assert judged.status == status
    page = Page(text := render(report, folder))
    assert f'class="verdict {status}"' in text
    assert f"<title>{status} ·" in text
    assert page.text.count(f" {status} ") >= 1
    for sentence in (*judged.reasons, judged.needed.replace("`", "")):
        assert sentence in page.text
    assert reports.artifact_markdown(report).startswith(f"# {word} {status}\n")
    assert ("(widened: 1 point was asked for)" in page.text) == (widened is not None)
    assert ("What would make it conclusive" in page.text) == (status == "INCONCLUSIVE")


def test_the_pooled_row_comes_first(full: tuple[Report, Path]) -> None:
    report, folder = full
    [pair] = report.pairs
    pooled = pair.comparison.pooled
    assert pooled is not None
    text = render(report, folder)
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    assert body.index("All rows") < body.index("gsm8k")
    assert wording.interval(pooled.low, pooled.high, "points") in body
    assert reports.artifact_table(report)[0]["Rows"] == str(pooled.rows)
    whole = [m for m in pair.comparison.metrics if m.primary and m.subtask_of is None]
    assert reports.artifact_table(report)[0]["Lost"] == str(sum(m.lost for m in whole))


def test_p_values_and_recovery_stand_in_the_table(
    full: tuple[Report, Path], shown: tuple[str, str]
) -> None:
    [pair], text = full[0].pairs, shown[0]
    group = next(m for m in pair.comparison.metrics if m.task == GROUP)
    assert group.p_adjusted is not None
    assert group.recovery is not None
    assert group.recovery_above_chance is not None
    assert group.recovery != group.recovery_above_chance
    assert f"Holm {wording.p_value(group.p_adjusted)}" in text
    assert wording.share(group.recovery) in text
    assert f"{wording.share(group.recovery_above_chance)} above chance" in text


@pytest.mark.parametrize(("value", "text"), [
    (0.0499, "0.050"), (0.04901, "0.050"), (0.231, "0.24"), (1.0, "1.0"), (3e-5, "< 0.0001"),
    (0.00123, "0.0013"), (0.000101, "0.0002"),
])  # fmt: skip
def test_p_values_are_never_rounded_down(value: float, text: str) -> None:
    assert wording.p_value(value) == text


@pytest.mark.parametrize(("value", "text"), [
    (0.99999, "99.9 %"), (1.0, "100.0 %"), (0.9648, "96.4 %"), (-0.1231, "−12.4 %"),
    (1.0229, "102.2 %"),
])  # fmt: skip
def test_shares_are_rounded_down(value: float, text: str) -> None:
    assert wording.share(value) == text


def test_a_model_card_has_front_matter_and_no_folder(full: tuple[Report, Path]) -> None:
    report, folder = full
    [pair] = report.pairs
    candidate = pair.candidate
    card = candidate.checkpoint.calibration
    assert card is not None
    calibration = card.spec.model_copy(update={"path": "/home/me/chats.jsonl"})
    card = card.model_copy(update={"spec": calibration})
    checkpoint = candidate.checkpoint.model_copy(update={"calibration": card})
    arms = report.arms | {"quantized": candidate.model_copy(update={"checkpoint": checkpoint})}
    texts = pair.comparison.fidelity.model_copy(update={"texts": "/home/me/texts.txt"})  # type: ignore[union-attr]
    model = ModelSpec(id="/home/me/qwen", source="local")
    served = ServingChanges(
        extra_args=("--chat-template", "/home/me/turns.jinja", "--lora=/home/me/lora"),
        variables={"VLLM_HOME": "/home/me/vllm", "VLLM_USE_V2": "1"},
        python="/home/me/bin/python3",
    )
    spec = report.spec.model_copy(
        update={
            "baseline": report.spec.baseline.model_copy(update={"model": model}),
            "candidates": (
                pair.change.model_copy(
                    update={"model": ModelSpec(id="/home/me/tuned", source="local"),
                            "serving": served}
                ),
            ),
            "fidelity": report.spec.fidelity.model_copy(update={"texts": "/home/me/texts.txt"}),
        }
    )  # fmt: skip
    comparison = pair.comparison.model_copy(update={"fidelity": texts})
    mine = of_pair(report, comparison=comparison, not_compared="OSError: /home/me/history")
    text = reports.model_card(mine.model_copy(update={"arms": arms, "spec": spec}).pairs[0])
    for secret in ("/home/me", "bench-02", "127.0.0.1", "/cache", "/envs"):
        assert secret not in text
    for name in ("chats.jsonl", "texts.txt", "`qwen`", "as tuned", "python python3"):
        assert name in text
    assert (
        "env VLLM_HOME=vllm VLLM_USE_V2=1 vllm serve FOLDER_OR_ID_OF_THIS_MODEL "
        "--max-model-len 2048 --dtype auto --chat-template turns.jinja --lora=lora"
    ) in text
    assert "base_model" not in yaml.safe_load(text.split("---\n")[1])

    text = reports.model_card(pair)
    matter = yaml.safe_load(text.split("---\n")[1])
    assert matter["base_model"] == "Qwen/Qwen2.5-7B-Instruct"
    found = matter["model-index"][0]["results"][0]
    assert found["dataset"] == {"name": "gsm8k", "type": "openai/gsm8k"}
    score = report.arms["quantized"].tasks["gsm8k"].metrics["exact_match,strict-match"]
    assert found["metrics"][0]["value"] == pytest.approx(score.value, abs=1e-6)
    for fact in ("**FAIL.**", "vllm serve", "group\\_size", "| gsm8k |", "128 of 240", "0.32.0"):
        assert fact in text
    path = reports.write(report, folder=folder)
    assert path.with_name("model-card.md").read_text(encoding="utf-8") == text


def test_a_hostile_name_cannot_leave_the_front_matter(bare: tuple[Report, Path]) -> None:
    report = bare[0]
    name = "a: b\n---\n# <script>\x00\ud800 - {x: [y"
    model = report.spec.baseline.model.model_copy(update={"id": name, "source": "huggingface"})
    baseline = report.spec.baseline.model_copy(update={"model": model})
    spec = report.spec.model_copy(update={"baseline": baseline})
    text = reports.model_card(report.model_copy(update={"spec": spec}).pairs[0])
    text.encode()
    matter = yaml.safe_load(re.split(r"^---$", text, flags=re.MULTILINE)[1])
    assert matter["base_model"] == name.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")


def test_a_table_of_markdown_keeps_its_shape(full: tuple[Report, Path]) -> None:
    for text in (reports.artifact_markdown(full[0]), reports.model_card(full[0].pairs[0])):
        found = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
        assert len(found) >= 5
        for table in found:
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_how_a_checkpoint_was_made_and_what_is_unclear_of_it_stand_in_the_provenance(
    full: tuple[Report, Path],
) -> None:
    report, folder = full
    candidate = report.arms["quantized"]
    checkpoint = candidate.checkpoint.model_copy(
        update={
            "made_seconds": 111.7,
            "made_peak_memory_bytes": 9_310_000_000,
            "origin": Origin(base_models=("a/b",), relation="finetune", said_by="README.md"),
            "format": Quantization(
                method="awq", understood=True, doubts=("bits is written as text: '<4>'",)
            ),
        }
    )
    arms = report.arms | {"quantized": candidate.model_copy(update={"checkpoint": checkpoint})}
    text = Page(render(report.model_copy(update={"arms": arms}), folder)).text
    assert "Made here in 1 min 52 s, with at most 9.31 GB of memory." in text
    assert "Of its quantization: bits is written as text: '<4>'." in text
    assert "a/b (finetune)" in text
    before = Page(render(report, folder)).text
    assert "Made here" not in before
    assert "Of its quantization" not in before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"model": {"id": "<a>/b"}, "pooling": "mean"},
            "<a>/b, pooled as mean gsm8k: 0123456789abcdef",
        ),
        ({"model": {"id": "a/b"}}, "a/b, pooled as its own files say"),
        (
            {"endpoint": {"url": "http://127.0.0.1:9", "model": "m", "version": "7"}},
            "m at http://127.0.0.1:9/v1, by its user's word version 7",
        ),
        (
            {"endpoint": {"url": "http://127.0.0.1:9", "model": "m"}},
            "m at http://127.0.0.1:9/v1, of no version: its vectors are of this run",
        ),
    ],
)
def test_what_embeds_stands_in_the_provenance(
    bare: tuple[Report, Path], given: dict[str, Any], says: str
) -> None:
    report, folder = bare
    evaluation = report.spec.evaluation.model_copy(
        update={"embedding": EmbeddingSpec.model_validate(given)}
    )
    spec = report.spec.model_copy(update={"evaluation": evaluation})
    tasks = {
        name: one.model_copy(
            update={"conditions": {**one.conditions, "embedding": "0123456789abcdef"}}
        )
        if name == "gsm8k"
        else one
        for name, one in report.baseline.tasks.items()
    }
    arms = report.arms | {"baseline": report.baseline.model_copy(update={"tasks": tasks})}
    text = Page(render(report.model_copy(update={"spec": spec, "arms": arms}), folder)).text
    said = f"What embeds, for all arms {says}"
    assert "".join(said.split()) in "".join(text.split())
    assert "What embeds" not in Page(render(report, folder)).text
