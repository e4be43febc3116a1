from __future__ import annotations

from infra.preflight.findings import note, ok
from infra.preflight.lines import Lines


def names(lines: Lines) -> list[str]:
    return [finding.name for finding in lines.findings]


def test_what_is_the_same_of_two_arms_has_one_line() -> None:
    lines = Lines()
    for arm in ("baseline", "one", "two"):
        lines.add(arm, ok("model", "here"), ok("servable", "float16"))
    assert names(lines) == ["model", "servable"]


def test_what_differs_says_of_which_arm_it_is() -> None:
    lines = Lines()
    lines.add("baseline", ok("model", "here"))
    lines.add("one", ok("model", "there"), ok("quantizable", "yes"))
    lines.add("two", note("model", "here"), ok("quantizable", "yes"))
    assert names(lines) == ["model", "model, one", "quantizable", "model, two"]
    assert [finding.found for finding in lines.findings] == ["here", "there", "yes", "here"]
    assert lines.findings[-1].status == "note"  # the same words, but no reason to rest


def test_two_lines_of_one_arm_are_both_its_own() -> None:
    lines = Lines()
    lines.extend("baseline", [ok("BOS", "none"), ok("BOS", "none")])
    assert names(lines) == ["BOS", "BOS"]
