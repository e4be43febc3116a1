"""Results that others made, judged as our own arms are: same pairing, statistics and verdict."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from infra.contracts import exit_codes, wording
from infra.contracts.errors import ComparisonError, MarginUnresolvable
from infra.contracts.records import RowComparison, TaskScores, Verdict
from infra.contracts.records.verdict_file import VerdictFile
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import compare_tasks
from infra.judging.pairing import RunRows
from infra.judging.statistics.effects import binary_effect
from infra.judging.statistics.paired import PairedCounts
from infra.judging.verdict import decide
from infra.report import verdict_file
from infra.store.content import digest_of
from infra.suite.foreign import Declared, Result, read
from infra.suite.rows import write_rows

_ARMS = ("baseline", "candidate")


@dataclass(frozen=True)
class Compared:
    """Two sets of results beside each other."""

    document: VerdictFile
    comparison: RowComparison
    verdict: Verdict
    notes: tuple[str, ...]
    """What weakens it, a sentence each."""


def compare_results(
    baseline: Path,
    candidate: Path,
    spec: VerdictSpec,
    *,
    declared: Declared | None = None,
    name: str = "candidate",
    label: str = "comparison",
    prompts_may_differ: bool = False,
) -> Compared:
    """Return what the rows of two files, or of two folders of files, show.

    Args:
        baseline: What another program left of the baseline.
        candidate: The same of what is held against it.
        spec: Which loss is acceptable.
        declared: What the user says of metrics.
        name: What the candidate is called.
        label: What the comparison is called.
        prompts_may_differ: Pair rows by question and right answer where the prompts differ: another
            chat template is then a part of what is judged.

    Raises:
        ComparisonError: A file cannot be read; or rows, tasks or metrics do not pair.
        MarginUnresolvable: The rows are too few to show anything.
    """
    if baseline.exists() and candidate.exists() and baseline.samefile(candidate):
        raise ComparisonError(
            f"Baseline and candidate are both {baseline}.",
            cause="Nothing differs from itself: that would pass whatever it holds.",
            remedy="Name the results of the baseline first, then those of the candidate.",
            field="rows",
        )
    found = read(baseline), read(candidate)
    _require_same_tasks(*found)
    notes = [note for one in found[0].values() for note in one.notes]
    if alike := [
        task for task, one in found[0].items() if one.source.sha256 == found[1][task].source.sha256
    ]:
        notes.append(
            f"The two files of {wording.listed(alike)} are the same, byte for byte: either no "
            "answer differs, or one is a copy of the other."
        )
    if differ := _prompts_that_differ(*found):
        if not prompts_may_differ:
            _refuse_prompts(differ)
        rows = sum(len(found[0][task].rows) for task in differ)
        notes.append(
            f"{sum(differ.values()):,} of {rows:,} questions of {wording.listed([*differ])} were "
            "put to the two in other words; rows are paired by question."
        )
    with tempfile.TemporaryDirectory() as folder:
        one, other = (
            _written(
                _completed(results, others),
                Path(folder),
                arm,
                declared or Declared(),
                by_question=bool(differ),
            )
            for arm, results, others in zip(_ARMS, found, reversed(found), strict=True)
        )
        comparison = compare_tasks(
            one, other, RunRows(Path(folder)), spec.confidence, margins=spec.margins
        )
    verdict = decide(comparison, spec, what=name)
    _require_enough(comparison, verdict, spec)
    sources = [result.source for results in found for result in results.values()]
    document = VerdictFile(
        kind="comparison",
        run_id=f"{label}-{digest_of([one.sha256 for one in sources])[:12]}",
        label=label,
        created=datetime.now(UTC),
        status=verdict.status,
        headline=verdict.headline,
        gate=spec.gate,
        exit_code=exit_codes.of_verdict(verdict.status, spec.gate),
        baseline=baseline.name,
        candidates=(verdict_file.candidate(name, comparison, verdict, spec),),
        sources=tuple(sources),
    )
    return Compared(document, comparison, verdict, tuple(dict.fromkeys(notes)))


def _require_same_tasks(baseline: Mapping[str, Result], candidate: Mapping[str, Result]) -> None:
    if baseline.keys() != candidate.keys():
        raise ComparisonError(
            f"The two are about different tasks: {', '.join(baseline)} in the baseline, "
            f"{', '.join(candidate)} in the candidate.",
            cause="Rows can only be compared with the same questions.",
            remedy="Name two files of the same task, or two folders with the same tasks. Where a "
            "program's file does not name its task, the folder that it lies in does: call both "
            "alike.",
            field="tasks",
        )
    for task, one in baseline.items():
        if one.program != (other := candidate[task]).program:
            raise ComparisonError(
                f"{task} was evaluated by {one.program} in the baseline and by {other.program} in "
                "the candidate.",
                cause="Each program puts questions and marks answers in its own way.",
                remedy="Evaluate both with the same program.",
                field="program", task=task,
            )  # fmt: skip


def _prompts_that_differ(
    baseline: Mapping[str, Result], candidate: Mapping[str, Result]
) -> dict[str, int]:
    """Return task → questions that are in both, in other words."""
    found = {}
    for task, one in baseline.items():
        prompts, others = _prompts(one), _prompts(candidate[task])
        if differ := sum((others[key] - prompts[key]).total() for key in others.keys() & prompts):
            found[task] = differ
    return found


def _prompts(result: Result) -> dict[tuple[str, str], Counter[str]]:
    """Return question → its prompts: one that comes twice may come with other examples."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in result.rows:
        found.setdefault((row.doc_hash, row.target_hash), Counter())[row.prompt_hash] += 1
    return found


def _refuse_prompts(differ: Mapping[str, int]) -> None:
    task, count = next(iter(differ.items()))
    raise ComparisonError(
        f"{count:,} questions of {task} were put to the two in other words.",
        cause="Another chat template, system prompt, or other examples: a difference would be that "
        "of the prompts as much as that of the models.",
        remedy="Evaluate both with the same prompts; or, if each shall have its own chat template, "
        "add --prompts-may-differ, and the verdict is on both together.",
        field="prompt",
        task=task,
    )


def _written(
    results: Mapping[str, Result], folder: Path, arm: str, declared: Declared, *, by_question: bool
) -> dict[str, TaskScores]:
    """Write the rows of an arm, and return its scores."""
    found = {}
    for number, (task, result) in enumerate(results.items()):
        samples = f"samples/{arm}/{number}.jsonl"
        write_rows(folder / samples, result.rows)
        scores = result.scores(samples, declared)
        # Tokenizers that differ are what lets rows pair by question.
        found[task] = scores.model_copy(update={"tokenizer": arm if by_question else ""})
    return found


def _completed(results: Mapping[str, Result], others: Mapping[str, Result]) -> dict[str, Result]:
    """Return results in which what only the other arm's files say is as it is there."""
    return {
        task: replace(
            one,
            version=one.version or others[task].version,
            num_fewshot=others[task].num_fewshot if one.num_fewshot is None else one.num_fewshot,
        )
        for task, one in results.items()
    }


def _require_enough(comparison: RowComparison, verdict: Verdict, spec: VerdictSpec) -> None:
    """Refuse rows of which no answers whatever would have shown that the margin is kept."""
    pooled = comparison.pooled
    if pooled is None or verdict.status != "INCONCLUSIVE":
        return
    unchanged = PairedCounts(both=pooled.rows, first_only=0, second_only=0, neither=0)
    best = -100 * binary_effect(unchanged, spec.confidence).bounds[0]
    if best >= spec.margin_points:
        raise MarginUnresolvable(
            f"{pooled.rows:,} rows are too few for a margin of "
            f"{wording.points(spec.margin_points)}: even if none differed, a loss of "
            f"{wording.possible_loss(best / 100, 'points')} would not be excluded.",
            cause="The rows show no loss either.",
            remedy="Evaluate more rows, or accept a larger loss: --margin.",
        )
