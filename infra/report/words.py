"""The words of a report that are not everybody's, each in a sentence or two."""

from __future__ import annotations

from infra.contracts import wording
from infra.contracts.records import Report
from infra.report.text import capitalized

FIDELITY = (
    "Agreement is how often both find the same next token likeliest. KL divergence is how far the "
    "candidate's chances for the next token are from the baseline's; 0 is alike. "
    "Perplexity is how much a text surprises a model; lower is better."
)
RECOVERY = (
    "Recovery is the candidate's score as a share of the baseline's; above chance, of what the "
    "baseline scores above guessing."
)
CHANGES = (
    "Lost rows are right before and wrong after, gained ones the other way; changed is every row "
    "whose answer differs, right or wrong."
)
GAP = (
    "A gap is by how much the best choice is ahead of the second best, or the right one of the "
    "best wrong one. A nat is the unit of log-probabilities: one nat ahead is 2.7 times as likely."
)


def holm_over(report: Report) -> str:
    """Return what p-values of a run are adjusted for looking at."""
    return "several tasks of several candidates" if len(report.judged) > 1 else "several tasks"


def words(report: Report) -> list[tuple[str, str]]:
    """Return the words that the page uses, and what they mean.

    Args:
        report: What the page shows.
    """
    recipes = [arm.quantization for arm in report.spec.arms.values() if arm.quantization]
    methods = dict(recipe.meaning for recipe in recipes)
    confidence = wording.confidence(report.spec.judged_verdict.confidence).removesuffix(" %")
    entries = [
        *methods.items(),
        ("Baseline, candidate", "The arms: what is changed, and what it is changed into."),
        ("Row", "One question of a task, answered by both arms."),
        ("Point", "One right answer in a hundred: from 73 % to 68 % is a loss of 5 points."),
        ("Interval", f"The differences that go with the rows seen: {confidence} of "
                     "100 such intervals hold the true one. The verdict asks one side alone, how "
                     "large the loss may be, so its limit lies a little inside."),
        ("Margin", "The loss that was called acceptable before the run. PASS: a larger one is "
                   "excluded. FAIL: a loss is shown, and not shown to be smaller. "
                   "INCONCLUSIVE: neither; most often there are too few rows. A metric without "
                   "points may have one of its own, in its own unit."),
        ("Lost, gained, changed", CHANGES),
        ("Flip", "A row lost or gained."),
        ("p", "How often chance alone makes a difference this large between equally good models. "
              f"Holm: the same, corrected for looking at {holm_over(report)}."),
        ("Recovery", capitalized(RECOVERY.removeprefix("Recovery is "))),
    ]  # fmt: skip
    if any(pair.comparison.fidelity for pair in report.pairs):
        entries.append(("Agreement, KL divergence, perplexity", FIDELITY))
    if any(pair.comparison.gaps for pair in report.pairs):
        entries.append(("Gap, nat", GAP))
    return entries
