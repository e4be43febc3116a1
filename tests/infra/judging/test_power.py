"""What a run can show: planned with assumed or counted flips; and what it then does."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.recipes import RECIPES
from infra.contracts.specs import VerdictSpec
from infra.judging.earlier_runs import Earlier, Flips
from infra.judging.power import (
    ALIKE,
    ASSUMED,
    ASSUMED_DRAWN,
    margin,
    plan,
    planned_again,
    resolvable_margin,
    resolves,
)
from infra.judging.statistics import (
    Asked,
    question_limits,
    questions_for_margin,
    smallest_drop_of,
    smallest_margin_of,
)

QWEN = {"gsm8k": 1319, "global_mmlu_en": 400, "gpqa_main_zeroshot": 448}
SUITE = {"gsm8k": 200, "arc": 100}


# Numbers


def test_the_smallest_drop_is_connors() -> None:
    """R. J. Connor (1987): 1,319 rows of which 10 % flip show 2.4 points, 400 rows 4.4."""
    power = plan(QWEN, VerdictSpec())
    assert power.tasks["gsm8k"].smallest_drop_points == pytest.approx(2.4372, abs=1e-4)
    assert power.tasks["global_mmlu_en"].smallest_drop_points == pytest.approx(4.4167, abs=1e-4)
    # (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2 rows, with 1.959964 and 0.841621
    drop = power.smallest_drop_points / 100
    rows = (1.959964 * 0.1**0.5 + 0.841621 * (0.1 - drop**2) ** 0.5) ** 2 / drop**2
    assert rows == pytest.approx(2167, rel=1e-5)


def test_several_candidates_take_more_rows() -> None:
    """Each may err less often, so that all together err no more often than one."""
    verdict = VerdictSpec()
    one, eight = plan(QWEN, verdict), plan(QWEN, verdict.among(8))
    assert verdict.among(1) == verdict
    assert 1 - verdict.among(8).confidence == pytest.approx(0.05 / 8)
    assert eight.smallest_drop_points > one.smallest_drop_points
    # (z at 1 - 0.05/8 + 0.841621) sqrt(0.1 / 2167)
    assert eight.smallest_margin_points == pytest.approx(
        100 * (2.497705 + 0.841621) * (0.1 / 2167) ** 0.5, rel=1e-5
    )
    assert eight.rows_for_margin > one.rows_for_margin


def test_all_rows_count_once() -> None:
    power = plan(QWEN, VerdictSpec())
    assert (power.rows, power.flip_rate, power.learned_from) == (2167, pytest.approx(0.1), ())
    # (1.644854 + 0.841621) sqrt(0.1 / 2167)
    assert power.smallest_margin_points == pytest.approx(1.68910, abs=1e-5)
    assert power.rows_for_margin == 6183
    assert power.accelerator_minutes is None


def test_the_pooled_flip_rate_is_weighted_by_rows() -> None:
    earlier = Earlier(flips={"gsm8k": Flips(rows=100_000_000, flipped=40_000_000)})
    power = plan({"gsm8k": 100, "arc": 300}, VerdictSpec(), earlier)
    assert power.tasks["gsm8k"].flip_rate == pytest.approx(0.4, abs=1e-5)
    assert power.tasks["arc"].flip_rate == ASSUMED
    assert power.flip_rate == pytest.approx((100 * 0.4 + 300 * 0.1) / 400, abs=1e-5)


def test_confidence_and_power_cost_rows() -> None:
    plain, sure = plan(SUITE, VerdictSpec()), plan(SUITE, VerdictSpec(confidence=0.99, power=0.95))
    assert sure.smallest_drop_points > plain.smallest_drop_points
    assert sure.smallest_margin_points > plain.smallest_margin_points
    assert sure.rows_for_margin > plain.rows_for_margin


def test_the_rate_of_the_spec_is_taken_as_it_is() -> None:
    earlier = Earlier(flips={"gsm8k": Flips(1000, 400)}, runs={"gsm8k": ("run-1",)})
    power = plan(SUITE, VerdictSpec(flip_rate=0.3), earlier)
    assert {task.flip_rate for task in power.tasks.values()} == {0.3}
    assert power.learned_from == ()


def test_without_rows_there_is_nothing_to_plan() -> None:
    with pytest.raises(ValueError, match="no rows"):
        plan({}, VerdictSpec())


# The margin


def test_just_enough_rows_resolve_the_margin_and_one_less_do_not() -> None:
    verdict = VerdictSpec()
    assert resolves(verdict, plan({"gsm8k": 6183}, verdict))
    assert not resolves(verdict, plan({"gsm8k": 6182}, verdict))


def test_a_margin_is_widened_only_if_need_be_and_only_if_allowed() -> None:
    verdict = VerdictSpec(if_unresolvable="widen")
    power = plan(QWEN, verdict)
    assert margin(verdict, power) == (1.7, 1.0)
    assert margin(VerdictSpec(), power) == (1.0, None)
    assert margin(VerdictSpec(if_unresolvable="widen", margin_points=2), power) == (2.0, None)


def test_a_verdict_that_may_come_early_takes_more_rows() -> None:
    verdict, early = VerdictSpec(), VerdictSpec(early_stop=True)
    one, other = plan(QWEN, verdict), plan(QWEN, early)
    assert other.smallest_margin_points == pytest.approx(1.65 * one.smallest_margin_points)
    assert other.smallest_drop_points == pytest.approx(1.65 * one.smallest_drop_points)
    assert other.tasks == one.tasks  # a single task is not looked at early
    enough = plan({"gsm8k": other.rows_for_margin}, early)
    assert resolves(early, enough)
    assert not resolves(early, plan({"gsm8k": other.rows_for_margin - 1}, early))


def test_what_was_lost_before_widens_no_margin() -> None:
    verdict = VerdictSpec(if_unresolvable="widen")
    runs = {"gsm8k": ("run-1",)}
    many = plan(QWEN, verdict, Earlier(flips={"gsm8k": Flips(1319, 600)}, runs=runs))
    few = plan(QWEN, verdict, Earlier(flips={"gsm8k": Flips(1319, 20)}, runs=runs))
    assert many.smallest_margin_points > 2.5
    assert margin(verdict, many) == margin(verdict, plan(QWEN, verdict)) == (1.7, 1.0)
    assert margin(verdict, few)[0] < 1.7
    # A rate that was stated beforehand is another thing.
    stated = verdict.model_copy(update={"flip_rate": 0.3})
    assert margin(stated, plan(QWEN, stated))[0] > 2.5


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 7, 60, 192, 1319, 100_000])
def test_the_margin_that_is_named_is_resolved(rows: int, early: bool) -> None:
    power = plan({"gsm8k": rows}, VerdictSpec(early_stop=early))
    named = resolvable_margin(power)
    assert resolves(VerdictSpec(margin_points=named, task_margin_points=100), power)
    assert named - power.smallest_margin_points < 0.1 + 1e-9
    assert named <= 100


def test_the_recipes_resolve_what_they_ask() -> None:
    rows = {
        "sample": {"gsm8k": 60, "global_mmlu_en": 72, "gpqa_main_zeroshot": 60},
        "qwen2.5-quality": {"mmlu": 14_042, "ceval-valid": 1_346, "ifeval": 541},
        "qwen2.5-speed": {"global_mmlu_en": 60},
    }
    for name, recipe in RECIPES.items():
        verdict = recipe().verdict
        power = plan(rows.get(name, QWEN), verdict)
        assert resolves(verdict, power), name
        for task in power.tasks.values():
            alone = plan({"task": task.rows}, verdict)
            assert alone.smallest_margin_points <= verdict.task_margin_points, name


# Questions that are asked several times


def test_without_repeats_both_plans_are_one() -> None:
    asked = [Asked(count, 0.1) for count in QWEN.values()]
    power = plan(QWEN, VerdictSpec())
    assert 100 * smallest_margin_of(asked, 0.8, 0.95) == pytest.approx(
        power.smallest_margin_points, abs=1e-9
    )
    assert 100 * smallest_drop_of(asked, 0.8, 0.05) == pytest.approx(
        power.smallest_drop_points, rel=0.01
    )
    assert questions_for_margin(asked, 0.01, 0.8, 0.95) == pytest.approx(
        power.rows_for_margin, rel=0.001
    )


def test_repeats_show_less_than_as_many_questions() -> None:
    once = plan({"gsm8k": 200}, VerdictSpec(), repeats={"gsm8k": 1})
    again = plan({"gsm8k": 200}, VerdictSpec(), repeats={"gsm8k": 4})
    more = plan({"gsm8k": 800}, VerdictSpec(), repeats={"gsm8k": 1})
    assert once.smallest_margin_points > again.smallest_margin_points > more.smallest_margin_points
    assert once.smallest_drop_points > again.smallest_drop_points > more.smallest_drop_points
    assert once.rows_for_margin > again.rows_for_margin
    task = again.tasks["gsm8k"]
    assert (task.rows, task.repeats, task.correlation) == (200, 4, ALIKE)
    assert task.effective == pytest.approx(800 / (1 + 3 * ALIKE))
    assert (once.tasks["gsm8k"].effective, once.tasks["gsm8k"].correlation) == (None, None)


def test_the_margin_that_repeats_resolve_is_where_a_limit_ends() -> None:
    """Of 200 questions without loss: what is seen ends above the margin four times in five."""
    power = plan({"gsm8k": 200}, VerdictSpec(), repeats={"gsm8k": 4})
    spread = ASSUMED_DRAWN * (1 + 3 * ALIKE) / 4
    # 0.841621 standard errors below zero the one-sided limit lies just about at the margin.
    bad = -0.841621 * (spread / 200) ** 0.5
    differences = np.random.default_rng(1).normal(bad, spread**0.5, 200)
    differences = (differences - differences.mean()) * (spread**0.5 / differences.std()) + bad
    low, _ = question_limits(np.clip(differences, -1, 1).tolist(), 0.9)
    assert -100 * low == pytest.approx(power.smallest_margin_points, rel=0.08)


def test_answers_that_are_drawn_are_expected_to_flip_more() -> None:
    drawn = plan(SUITE, VerdictSpec(), repeats={"gsm8k": 1})
    assert drawn.tasks["gsm8k"].flip_rate == ASSUMED_DRAWN > ASSUMED
    assert drawn.tasks["arc"].flip_rate == ASSUMED
    stated = plan(SUITE, VerdictSpec(flip_rate=0.07), repeats={"gsm8k": 3})
    assert {task.flip_rate for task in stated.tasks.values()} == {0.07}


def test_a_plan_with_repeats_is_made_again_and_widened_alike() -> None:
    verdict = VerdictSpec(margin_points=0.5, if_unresolvable="widen")
    power = plan(SUITE, verdict, repeats={"gsm8k": 3})
    assert planned_again(verdict, power) == power
    assert margin(verdict, power) == (resolvable_margin(power), 0.5)
    learned = plan(
        SUITE, verdict,
        Earlier(flips={"gsm8k": Flips(rows=9_000, flipped=6_000)}, runs={"gsm8k": ("r",)}),
        {"gsm8k": 3},
    )  # fmt: skip
    assert learned.flip_rate > ASSUMED_DRAWN
    assert margin(verdict, learned) == margin(verdict, power)
