from __future__ import annotations

from infra.contracts.errors import Unservable
from infra.contracts.specs import BASELINE, RunSpec
from infra.preflight.findings import note, ok, problem
from infra.preflight.lines import Lines


def run(*candidates: str) -> RunSpec:
    return RunSpec.model_validate(
        {
            "baseline": {"model": {"id": "a/b"}},
            "candidates": [{"name": name, "serving": {"dtype": "float16"}} for name in candidates],
            "evaluation": {"tasks": [{"name": "gsm8k"}]},
        }
    )


def names(lines: Lines) -> list[str]:
    return [finding.name for finding in lines.findings]


def test_what_is_the_same_of_two_arms_has_one_line() -> None:
    lines = Lines(run("one", "two"))
    for arm in ("baseline", "one", "two"):
        lines.add(arm, ok("model", "here"), ok("servable", "float16"))
    assert names(lines) == ["model", "servable"]


def test_what_differs_says_of_which_arm_it_is() -> None:
    lines = Lines(run("one", "two"))
    lines.add("baseline", ok("model", "here"))
    lines.add("one", ok("model", "there"), ok("quantizable", "yes"))
    lines.add("two", note("model", "here"), ok("quantizable", "yes"))
    assert names(lines) == ["model", "model, one", "quantizable", "model, two"]
    assert [finding.found for finding in lines.findings] == ["here", "there", "yes", "here"]
    assert lines.findings[-1].status == "note"  # the same words, but no reason to rest


def test_two_lines_of_one_arm_are_both_its_own() -> None:
    lines = Lines(run("one", "two"))
    lines.extend("baseline", [ok("BOS", "none"), ok("BOS", "none")])
    assert names(lines) == ["BOS", "BOS"]


REFUSED = problem("servable", Unservable("serving.dtype=x.", remedy="Set serving.dtype to auto."))


def test_a_problem_says_which_of_several_candidates_has_it() -> None:
    lines = Lines(run("one", "two"))
    lines.add("two", REFUSED)
    [finding] = lines.findings
    assert finding.name == "servable, two"
    assert finding.error.fact == "Candidate two: candidates.two.serving.dtype=x."
    assert finding.error.remedy == "Set candidates.two.serving.dtype to auto."


def test_a_problem_of_the_only_candidate_or_of_the_baseline_is_nobody_elses() -> None:
    lines = Lines(run("one"))
    lines.add("one", REFUSED)
    assert lines.findings[0].error.fact == "candidates.one.serving.dtype=x."
    lines = Lines(run("one", "two"))
    lines.add(BASELINE, REFUSED)
    assert lines.findings == [REFUSED]


def test_a_recipe_that_is_inherited_is_named_where_it_stands() -> None:
    spec = run("one", "two").model_dump(mode="json")
    spec["baseline"]["quantization"] = {"calibration": {"path": "c"}}
    spec["candidates"].append({"name": "other", "model": {"id": "c/d"}})
    lines = Lines(RunSpec.model_validate(spec))
    coarse = problem("quantizable", Unservable("No.", remedy="Set quantization.group_size to 64."))
    for arm in ("baseline", "one", "two"):
        lines.add(arm, coarse)
    [finding] = lines.findings
    assert finding.remedy == "Set baseline.quantization.group_size to 64."


def test_what_the_run_has_itself_is_no_candidates() -> None:
    lines = Lines(run("one", "two"))
    few = problem("x", Unservable("Few.", remedy="Lower quantization.calibration.min_samples."))
    lines.extend("one", [few], places={"quantization.calibration": "conversations"})
    [finding] = lines.findings
    assert (finding.name, finding.arm) == ("x", "")
    assert finding.error.remedy == "Lower conversations.min_samples."


def test_each_candidate_with_the_same_problem_gets_its_own_remedy() -> None:
    lines = Lines(run("one", "two"))
    lines.add("one", REFUSED)
    lines.add("two", REFUSED)
    assert names(lines) == ["servable, one", "servable, two"]
    missing = problem("model", Unservable("There is no folder.", remedy="Copy it."))
    lines.add("one", missing)
    lines.add("two", missing)
    assert names(lines)[2:] == ["model, one"]
