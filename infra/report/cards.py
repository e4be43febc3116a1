"""Where the model cards of a run lie: one for each candidate."""

from __future__ import annotations

from infra.contracts.records import Report


def card_names(report: Report) -> list[str]:
    """Return the file of each candidate's model card, in the order of `Report.pairs`."""
    if len(report.pairs) == 1:
        return ["model-card.md"]
    return [f"model-card-{pair.name}.md" for pair in report.pairs]
