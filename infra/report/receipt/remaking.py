"""Is the report right? Comparison and verdict are made once more from the stored rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError
from infra.contracts.migration import FORMER_BASELINE, migrated_arm
from infra.contracts.records import ArmResult, Comparison, Pair, Report, TaskScores, Verdict
from infra.contracts.specs import BASELINE
from infra.judging import answered_rows, functions, gaps, gate, noise, reliability, repeats
from infra.judging.comparison import Rules, change_name, compare, compare_against, decides
from infra.judging.family import together
from infra.judging.pairing import RunRows
from infra.judging.verdict import decide
from infra.machine.garbage import uncollected
from infra.probes import fidelity
from infra.report.receipt.checks import Checked, checked, counted
from infra.report.receipt.comparing import plain, reworded, unequal
from infra.report.receipt.margins import Planned, check_plan, margin_of
from infra.report.receipt.rules import EARLIER, NOT_IN_1, RULES

_REPEAT = (f"arm-{BASELINE}-repeat.json", f"arm-{FORMER_BASELINE}-again.json")
"""Of the baseline, for the noise floor: its record in the run's folder, now and earlier."""

_BASELINE = (f"arm-{BASELINE}.json", f"arm-{FORMER_BASELINE}.json")

NOT_MADE = (AssayError, ArithmeticError, KeyError, OSError, TypeError, ValueError)
"""What making a comparison again raises on rows and records that somebody changed."""


Again = Mapping[str, Comparison]
"""Candidate → its comparison, made again; those that cannot be made are left out."""


def check_comparison(report: Report, folder: Path) -> tuple[Checked, Again]:
    """Return where comparisons are not what rows and readings give, and what they give.

    By the rules of the version that wrote the report; where those of this one give something else
    that is a note.
    """
    wrong: list[str] = []
    notes: list[str] = []
    made: dict[str, Comparison] = {}
    for pair in report.pairs:
        try:
            made[pair.name] = _compared(pair, folder, RULES.get(report.rules))
        except NOT_MADE as error:
            fact = error.fact if isinstance(error, AssayError) else repr(error)
            wrong.append(f"{pair.name}: it cannot be made again: {fact:.300}")
    if report.rules == 1:
        notes.append(
            "intervals and tests were not made again: version 1, which wrote it, had another method"
        )
    else:
        # One that cannot be made again is no reason to doubt the others, adjusted beside it.
        beside = {pair.name: made.get(pair.name, pair.comparison) for pair in report.pairs}
        adjusted = together(beside)
        made = {name: adjusted[name] for name in made}
    for pair in report.pairs:
        if pair.name not in made:
            continue
        reported, again = pair.comparison, made[pair.name]
        if reported.lengths:
            notes.append("lengths of written answers were not made again: that takes the tokenizer")
            again = again.model_copy(update={"lengths": reported.lengths})
        if reported.tokenizer_differs:
            notes.append("how tokenizers differ was not looked at again: that takes both of them")
            again = again.model_copy(update={"tokenizer_differs": reported.tokenizer_differs})
        if report.rules == 1:
            again = _as_1(again, reported)
        made[pair.name] = again
        where = f"judged.{pair.name}.comparison"
        wrong += unequal(where, plain(reported), plain(again))
        for place, (one, other) in enumerate(zip(reported.metrics, again.metrics, strict=False)):
            words = reworded(f"{where}.metrics[{place}]", plain(one), plain(other))
            wrong += [text for text, number in words if number]
        wrong += _against(pair, folder)
        if report.rules in RULES:
            notes += _otherwise(reported, today(pair, folder), report.rules)
    count = sum(len(again.metrics) for again in made.values())
    how = "" if report.rules == 1 else " with intervals and tests"
    what = f"{counted(count, 'difference')}{how}, made again" if made else "differences, intervals"
    return checked("comparison", what, wrong, list(dict.fromkeys(notes))), made


def _against(pair: Pair, folder: Path) -> Iterator[str]:
    """Yield where a candidate beside another one is not what their rows give."""
    try:
        again = compare_against(pair.name, pair.report.arms, pair.spec, RunRows(folder))
    except NOT_MADE as error:
        yield f"{pair.name}: beside {pair.change.against} it cannot be made again: {error!r:.300}"
    else:
        reported = pair.judgement.against
        yield from unequal(f"judged.{pair.name}.against", plain(reported), plain(again))


@uncollected()
def _compared(pair: Pair, folder: Path, rules: Rules | None) -> Comparison:
    baseline, candidate = pair.baseline, pair.candidate
    rows = RunRows(folder)
    found: dict[str, Any] = {}
    if pair.comparison.noise is not None:
        # Of tasks that were stopped early the pair holds the rows that both arms answered.
        first = pair.report.baseline
        if pair.spec.verdict.early_stop and pair.judgement.answered is None:
            first = _arm(folder, _BASELINE) or first
        repeat = _arm(folder, _REPEAT)
        if repeat is None:
            raise FileNotFoundError(f"the repeat of the baseline, {_REPEAT[0]}")
        found["noise"] = noise.floor(first, repeat, rows)
    # Without one although both were read: the readings could not be compared, which was said.
    if pair.comparison.fidelity and baseline.reading and candidate.reading:
        found["fidelity"] = fidelity.compare(baseline.reading, candidate.reading, folder)
    spec = pair.spec.judged_verdict
    if pair.comparison.reliability:
        found["reliability"] = reliability.compare(baseline, candidate, rows)
    if pair.comparison.functions:
        found["functions"] = functions.compare(baseline, candidate, rows, spec.confidence)
    if pair.comparison.repeats:
        found["repeats"] = repeats.compare(baseline, candidate, rows, spec.confidence)
    if pair.comparison.gaps is not None:  # earlier versions had none
        found["gaps"] = gaps.compare(baseline, candidate, rows, spec.confidence)
    scores = compare(baseline, candidate, rows, spec.confidence, rules, spec.margins)
    if pair.spec.verdict.early_stop:
        found["pooled"] = answered_rows.pooled(baseline, candidate, scores, rows)
    return scores.model_copy(update=found)


def _as_1(again: Comparison, reported: Comparison) -> Comparison:
    """Return a comparison with all that version 1 did not compute taken from its own."""
    metrics = again.metrics
    if len(reported.metrics) == len(metrics):
        metrics = tuple(
            one.model_copy(update={name: getattr(other, name) for name in NOT_IN_1})
            for one, other in zip(metrics, reported.metrics, strict=True)
        )
    return again.model_copy(update={"metrics": metrics, "pooled": None})


def today(pair: Pair, folder: Path) -> Comparison | None:
    """Return the comparison by the rules of this version; none if it cannot be made."""
    try:
        return _compared(pair, folder, None)
    except NOT_MADE:
        return None


def _otherwise(reported: Comparison, now: Comparison | None, version: int) -> list[str]:
    """Return what the rules of this version make of the same rows."""
    said = [EARLIER.format(version=version)]
    for one, other in zip(reported.metrics, now.metrics if now else (), strict=False):
        where = f"{one.task}, {one.metric}"
        if one.unit != other.unit:
            said.append(f"by today's rules {where} is in {other.unit}, not in {one.unit}")
        elif decides(one) and one.chance != other.chance:
            said.append(f"by today's rules guessing scores {_share(other.chance)} on {where}, "
                        f"not {_share(one.chance)}")  # fmt: skip
    return said


def _share(chance: float | None) -> str:
    return "no known share" if chance is None else f"{chance:.1%}".replace("%", " %")


def _arm(folder: Path, names: Sequence[str]) -> ArmResult | None:
    """Return the record of an arm, under whichever name a version kept it; none if it is gone."""
    for path in (folder / name for name in names):
        if path.is_file():
            return ArmResult.model_validate(migrated_arm(json.loads(path.read_text("utf-8"))))
    return None


def check_verdict(report: Report, again: Again, folder: Path) -> Checked:
    """Return where verdicts, margin and plan are not what comparisons, spec and rows give."""
    status = report.verdict.status
    if report.rules == 1:
        note = "it was judged before there were margins, and is not made again"
        unknown = [
            f"verdict.status is {found.status!r}, which version 1 knew not"
            for found in (report.verdict, *(pair.verdict for pair in report.pairs))
            if found.status != "INCONCLUSIVE"
        ]
        return checked("verdict", status, list(dict.fromkeys(unknown)), [note])
    wrong: list[str] = []
    notes: list[str] = []
    made: dict[str, Verdict] = {}
    try:
        whole = _whole(report, folder)
    except (AssayError, OSError, ValueError) as error:
        return checked("verdict", status, [f"it cannot be made again: {error}"])
    for pair in report.pairs:
        where = f"judged.{pair.name}.verdict"
        if pair.name not in again:
            wrong.append(f"{where} cannot be made again, since the comparison cannot")
            continue
        try:
            made[pair.name] = _decided(pair, again[pair.name], whole)
        except (AssayError, OSError, ValueError) as error:
            wrong.append(f"{where} cannot be made again: {error}")
            continue
        more, noted = differs(where, pair.verdict, made[pair.name], exact=bool(whole))
        wrong, notes = [*wrong, *more], [*notes, *noted]
        now = today(pair, folder) if report.rules in RULES else None
        if now and (judged := _decided(pair, now, whole)).status != pair.verdict.status:
            notes.append(f"by today's rules it would be {judged.headline}")
    if len(made) == len(report.pairs):
        gated = report.spec.verdict.gate
        overall = gate.overall(made, report.failed, gated, *margin_of(report))
        more, noted = differs("verdict", report.verdict, overall, exact=bool(whole))
        wrong, notes = [*wrong, *more], [*notes, *noted]
    wrong += check_plan(Planned.of(report), whole, folder)
    return checked(
        "verdict", f"{status}, made again", list(dict.fromkeys(wrong)), list(dict.fromkeys(notes))
    )


def differs(
    where: str, reported: Verdict, again: Verdict, *, exact: bool
) -> tuple[list[str], list[str]]:
    """Return what is wrong in a verdict, and what only reads otherwise."""
    wrong = [*unequal(where, plain(reported), plain(again))]
    words = [*reworded(where, plain(reported), plain(again))]
    wrong += [text for text, number in words if number and exact]
    if not reported.headline.startswith(f"{reported.status}: "):
        wrong.append(f"{where}.headline does not begin with {reported.status}")
    return wrong, [text for text, number in words if not (number and exact)]


def _decided(pair: Pair, comparison: Comparison, whole: Mapping[str, TaskScores]) -> Verdict:
    pooled, (margin, widened_from) = comparison.pooled, margin_of(pair.report)
    early_stop = pair.spec.verdict.early_stop
    return decide(
        comparison,
        pair.spec.verdict,
        candidates=len(pair.spec.candidates),
        what=change_name(pair.spec, pair.name),
        margin_points=margin,
        widened_from=widened_from,
        stopped_after=pooled.rows if early_stop and pooled else None,
        of=(
            sum(whole[task].distinct for task in pooled.tasks)
            if pooled and set(pooled.tasks) <= whole.keys()
            else None
        ),
    )


def _whole(report: Report, folder: Path) -> Mapping[str, TaskScores]:
    """Return the baseline's tasks over all their rows; nothing where they are gone.

    Reports of earlier versions tell a part where a run was stopped early.
    """
    part = any(pair.judgement.answered is None for pair in report.pairs)
    if not report.spec.verdict.early_stop or not part:
        return report.baseline.tasks
    found = _arm(folder, _BASELINE)
    return found.tasks if found else {}
