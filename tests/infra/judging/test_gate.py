"""What several verdicts come to."""

from __future__ import annotations

import pytest

from infra.contracts.records import Verdict
from infra.contracts.specs import VerdictSpec
from infra.judging.gate import Gate, overall

P, F, I = "PASS", "FAIL", "INCONCLUSIVE"  # noqa: E741


def verdict(status: str, needed: str = "") -> Verdict:
    return Verdict.model_validate(
        {"status": status, "headline": f"{status}: so.", "needed": needed, "margin_points": 2.0}
    )


def of(statuses: list[str]) -> dict[str, Verdict]:
    return {f"c{number}": verdict(status) for number, status in enumerate(statuses)}


@pytest.mark.parametrize(
    ("statuses", "failed", "every", "some"),
    [
        ([P, P], 0, P, P),
        ([P, I], 0, I, P),
        ([P, F], 0, F, P),
        ([I, F], 0, F, I),
        ([I, I], 0, I, I),
        ([F, F], 0, F, F),
        # Who has no result is not known to be worse, and not known to be as good.
        ([P], 1, I, P),
        ([F], 1, F, I),
        ([I], 1, I, I),
        ([P, P, P], 2, I, P),
        ([F, F], 1, F, I),
        ([], 2, I, I),
    ],
)
def test_all_have_to_pass_or_any(statuses: list[str], failed: int, every: str, some: str) -> None:
    lacking = {f"x{number}": "The engine died." for number in range(failed)}
    gates: dict[Gate, str] = {"all": every, "any": some, "none": every}
    for gate, wanted in gates.items():
        found = overall(of(statuses), lacking, gate, 2.0)
        assert found.status == wanted, gate
        assert found.headline.startswith(f"{wanted}: ")
        assert (found.margin_points, found.widened_from_points) == (2.0, None)


def test_the_verdict_of_one_candidate_is_that_of_the_run() -> None:
    one = verdict(I, "About 900 rows.")
    for gate in ("all", "any", "none"):
        assert overall({"one": one}, {}, gate, 3.0) is one


def test_it_says_who_passes_and_why_the_others_do_not() -> None:
    found = overall(
        {"a": verdict(P), "b": verdict(F), "c": verdict(P)},
        {"d": "Its weights are not to be had."},
        "any", 2.5, 1.0,
    )  # fmt: skip
    assert found.headline == "PASS: 2 of 4 candidates pass: a and c; one is enough."
    assert found.reasons == (
        "a: PASS: so.", "b: FAIL: so.", "c: PASS: so.",
        "d has no result: Its weights are not to be had.",
    )  # fmt: skip
    assert found.needed == ""
    assert (found.margin_points, found.widened_from_points) == (2.5, 1.0)


@pytest.mark.parametrize(
    ("gate", "said"),
    [("all", "0 of 2 candidates pass; all have to."), ("none", "0 of 2 candidates pass.")],
)
def test_where_none_has_to_pass_none_is_said_to(gate: Gate, said: str) -> None:
    assert overall(of([F, I]), {}, gate, 2.0).headline == f"FAIL: {said}"


def test_what_would_make_it_conclusive_is_said_of_each() -> None:
    unclear = {"a": verdict(P), "b": verdict(I, "About 900 rows."), "c": verdict(I, "A look.")}
    assert overall(unclear, {}, "all", 2.0).needed == "For b: about 900 rows. For c: a look."
    broken = overall(unclear, {"d": "It died."}, "all", 2.0)
    assert broken.needed == "Mend what keeps d from a result, and run it again."


def test_a_baseline_alone_has_nothing_to_be_judged() -> None:
    found = overall({}, {}, "all", 2.0)
    assert found.status == "INCONCLUSIVE"
    assert "no candidate" in found.headline


def test_the_gates_are_those_of_the_spec() -> None:
    gates = VerdictSpec.model_fields["gate"].annotation
    assert gates == Gate
