from __future__ import annotations

import itertools
import json
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from infra.contracts.records import Report, TaskScores
from infra.contracts.specs import VerdictSpec
from infra.judging import answered_rows, early_stop
from infra.judging.comparison import compare
from infra.judging.pairing import RunRows
from infra.judging.repeats import pass_at, told
from infra.judging.statistics import question_limits
from infra.judging.verdict import decide
from tests.infra.made_runs import make_run, score, write_rows
from tests.infra.suite.harness.conftest import Heard


@pytest.mark.parametrize("times", range(1, 9))
def test_pass_at_k_is_the_share_of_all_ways_to_take_k_answers(times: int) -> None:
    for right, k in itertools.product(range(times + 1), range(1, times + 1)):
        answers = [True] * right + [False] * (times - right)
        ways = [any(taken) for taken in itertools.combinations(answers, k)]
        exact = Fraction(sum(ways), len(ways))
        assert pass_at(k, right, times) == pytest.approx(float(exact), abs=1e-9)


@pytest.mark.parametrize(("right", "times", "k"), [(3, 200, 100), (57, 200, 10), (1, 64, 64)])
def test_pass_at_k_as_its_authors_compute_it(right: int, times: int, k: int) -> None:
    """Chen et al. (2021), figure 3."""
    left = np.arange(times - right + 1, times + 1)
    theirs = 1.0 if times - right < k else 1.0 - np.prod(1.0 - k / left)
    assert pass_at(k, right, times) == pytest.approx(theirs, abs=1e-9)


def test_pass_at_1_is_the_mean() -> None:
    assert pass_at(1, 3, 8) == pytest.approx(3 / 8, abs=1e-12)
    assert math.isclose(pass_at(8, 1, 8), 1)


@pytest.mark.parametrize(
    ("times", "ks"),
    [(2, [1, 2]), (4, [1, 2, 3, 4]), (5, [1, 2, 3, 4, 5]), (8, [1, 2, 3, 4, 8]),
     (20, [1, 2, 3, 4, 8, 16, 20])],
)  # fmt: skip
def test_which_k_are_told(times: int, ks: list[int]) -> None:
    assert told(times) == ks


TIMES = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, rows=40, times=TIMES), folder


def marks(run: tuple[Report, Path]) -> list[np.ndarray]:
    """Read what each answer to each question scores, without the code of a comparison."""
    report, folder = run
    found = []
    for arm in ("baseline", "quantized"):
        scores = np.full((40, TIMES), np.nan)
        for line in (folder / report.arms[arm].tasks["gsm8k"].samples).read_text().splitlines():
            row = json.loads(line)
            metric = report.arms[arm].tasks["gsm8k"].primary_metric
            scores[row["doc_id"], row["repeat"]] = row["metrics"][metric]
        found.append(scores)
    return found


def test_what_a_comparison_says_of_repeats_follows_from_the_rows(run: tuple[Report, Path]) -> None:
    one, other = marks(run)
    [pair] = run[0].pairs
    of = pair.comparison.repeats["gsm8k"]
    assert (of.questions, of.repeats) == (40, TIMES)
    assert [*pair.comparison.repeats] == ["gsm8k"]
    for side, arm in ((of.baseline, one), (of.candidate, other)):
        right = arm.sum(axis=1)
        assert side is not None
        assert side.always == (right == TIMES).sum()
        assert side.never == (right == 0).sum()
        assert side.sometimes == 40 - side.always - side.never
    f = stats.f_oneway(*(other - one)).statistic
    assert of.correlation == pytest.approx(max(0, (f - 1) / (f + TIMES - 1)), abs=1e-9)
    assert of.effective == pytest.approx(160 / (1 + 3 * (of.correlation or 0)), abs=1e-9)
    assert [each.k for each in of.passes] == [1, 2, 3, 4]
    for each in of.passes:
        both = []
        for arm in (one, other):
            ways = [
                arm[:, taken].max(axis=1) for taken in itertools.combinations(range(TIMES), each.k)
            ]
            both.append(np.mean(ways, axis=0))
        assert each.baseline == pytest.approx(both[0].mean(), abs=1e-9)
        assert each.candidate == pytest.approx(both[1].mean(), abs=1e-9)
        assert each.difference == pytest.approx((both[1] - both[0]).mean(), abs=1e-9)
        limits = question_limits((both[1] - both[0]).tolist(), pair.spec.judged_verdict.confidence)
        assert (each.low, each.high) == pytest.approx(limits, abs=1e-9)


def test_a_task_is_compared_by_question(run: tuple[Report, Path]) -> None:
    one, other = marks(run)
    [pair] = run[0].pairs
    metric = next(m for m in pair.comparison.metrics if m.task == "gsm8k" and m.primary)
    assert (metric.pairs, metric.repeats, metric.questions) == (160, TIMES, 40)
    assert metric.lost == (other < one).sum()
    assert metric.gained == (other > one).sum()
    limits = question_limits((other - one).mean(axis=1).tolist(), metric.confidence)
    assert (metric.low, metric.high) == pytest.approx(limits, abs=1e-9)
    assert metric.difference == pytest.approx((other - one).mean(), abs=1e-9)
    first = pair.comparison.repeats["gsm8k"].passes[0]
    assert (first.low, first.high) == pytest.approx((metric.low, metric.high), abs=1e-9)


def test_over_all_rows_a_question_counts_once(run: tuple[Report, Path]) -> None:
    [pair] = run[0].pairs
    pooled = pair.comparison.pooled
    assert pooled is not None
    assert (pooled.rows, pooled.repeats) == (3 * 40, TIMES)
    each = [m for m in pair.comparison.metrics if m.primary and m.subtask_of is None]
    assert pooled.difference == pytest.approx(np.mean([m.difference for m in each]), abs=1e-9)
    flips = [(m.lost + m.gained) / m.pairs for m in each]
    assert pooled.flip_rate == pytest.approx(np.mean(flips), abs=1e-9)
    assert "120 questions, asked up to 4 times each" in pair.verdict.headline


def test_an_arm_that_may_stop_early_is_asked_whole_questions(run: tuple[Report, Path]) -> None:
    report, folder = run
    tasks = {"gsm8k": report.baseline.tasks["gsm8k"]}
    baseline = report.baseline.model_copy(update={"tasks": tasks})
    candidate = report.arms["quantized"]
    rounds = early_stop.rounds(baseline, VerdictSpec(early_stop=True), 30.0, folder)
    asked: list[set[int]] = []

    def ask(task: str, documents: early_stop.Documents, samples: Path) -> TaskScores:
        asked.append({*documents["gsm8k"]})
        path = folder / candidate.tasks[task].samples
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        chosen = [row for row in rows if row["doc_id"] in asked[-1]]
        write_rows(samples, chosen)
        return score(task, chosen, str(samples))

    heard = Heard()
    found = rounds.ask(ask, {}, lambda task: folder / f"{task}.part.jsonl", heard)
    assert all(len(one) == len({*one}) for one in asked)
    assert asked[-1] >= asked[0]
    assert found["gsm8k"].n == TIMES * len(asked[-1])
    assert "of 40 rows" in heard.said[0]
    one, other = marks(run)
    steps = answered_rows.steps(baseline.tasks["gsm8k"], candidate.tasks["gsm8k"], RunRows(folder))
    assert [*steps] == pytest.approx((other - one).mean(axis=1).tolist(), abs=1e-12)


def test_what_would_make_it_conclusive_is_told_in_questions(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=40, times=TIMES, kept=0.9, found=0.1)
    arms = [
        arm.model_copy(update={"tasks": {"gsm8k": arm.tasks["gsm8k"]}})
        for arm in (made.baseline, made.arms["quantized"])
    ]
    alone = compare(arms[0], arms[1], RunRows(tmp_path))
    verdict = decide(alone, VerdictSpec(margin_points=2.0), what="It")
    assert alone.pooled is not None
    assert verdict.status == "INCONCLUSIVE"
    said = re.search(r"about ([\d,]+) questions instead of ([\d,]+) to show", verdict.needed, re.I)
    assert said is not None
    asked, there = said.groups()
    assert there == "40"
    assert int(asked.replace(",", "")) > 40
    assert "more repeats of these show less" in verdict.needed
