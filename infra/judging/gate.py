"""What several verdicts come to: the verdict of a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from infra.contracts.records import Verdict
from infra.contracts.wording import listed

Gate = Literal["all", "any", "none"]

_WANTED: dict[Gate, str] = {"all": "; all have to", "any": "; one is enough", "none": ""}


def overall(
    verdicts: Mapping[str, Verdict],
    failed: Mapping[str, str],
    gate: Gate,
    margin_points: float,
    widened_from: float | None = None,
) -> Verdict:
    """Return the verdict of a run: its one candidate's, or what the gate makes of several.

    With `any`, one candidate that passes is enough. Else all have to, also where nothing depends on
    it; a candidate without a result is not known to be worse, and not known to be as good.

    Args:
        verdicts: Candidate → its verdict.
        failed: Candidate → why it has none.
        gate: Which of them have to pass.
        margin_points: That a candidate would be held against.
        widened_from: The margin of the spec, if the rows could not resolve it.
    """
    if not verdicts and not failed:
        return _nothing(margin_points, widened_from)
    if len(verdicts) == 1 and not failed:
        return next(iter(verdicts.values()))
    by_status: dict[str, list[str]] = {"PASS": [], "FAIL": [], "INCONCLUSIVE": []}
    for name, verdict in verdicts.items():
        by_status[verdict.status].append(name)
    total = len(verdicts) + len(failed)
    passed = by_status["PASS"]
    status: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    if gate == "any":
        none_left = len(by_status["FAIL"]) == total
        status = "PASS" if passed else "FAIL" if none_left else "INCONCLUSIVE"
    else:
        whole = len(passed) == total
        status = "FAIL" if by_status["FAIL"] else "PASS" if whole else "INCONCLUSIVE"
    names = f": {listed(passed)}" if passed else ""
    return Verdict(
        status=status,
        headline=f"{status}: {len(passed)} of {total} candidates pass{names}{_WANTED[gate]}.",
        reasons=(
            *(f"{name}: {verdict.headline}" for name, verdict in verdicts.items()),
            *(f"{name} has no result: {why}" for name, why in failed.items()),
        ),
        needed="" if status != "INCONCLUSIVE" else _needed(verdicts, failed),
        margin_points=margin_points,
        widened_from_points=widened_from,
    )


def _nothing(margin_points: float, widened_from: float | None) -> Verdict:
    return Verdict(
        status="INCONCLUSIVE",
        headline="INCONCLUSIVE: there is no candidate to hold against the baseline.",
        margin_points=margin_points,
        widened_from_points=widened_from,
    )


def _needed(verdicts: Mapping[str, Verdict], failed: Mapping[str, str]) -> str:
    if failed:
        return f"Mend what keeps {listed(list(failed))} from a result, and run it again."
    return " ".join(f"For {name}: {_lowered(one.needed)}" for name, one in verdicts.items()
                    if one.needed)  # fmt: skip


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
