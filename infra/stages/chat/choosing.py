"""Which two models of a finished run are tried, and whether they are still what was evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.contracts.errors import SpecError, WeightsError
from infra.contracts.records import CheckpointSummary, Pair, Report
from infra.contracts.records.record import Side
from infra.contracts.specs import BASELINE, ArmSpec
from infra.report import published
from infra.report.receipt.weights import check_weights
from infra.store.settings import Settings
from infra.store.usage import for_run, used

SIDES: tuple[Side, Side] = ("baseline", "candidate")
"""What both are called on the page and in votes, in the order of `Chosen.names`."""


@dataclass(frozen=True)
class Chosen:
    """The baseline of a run and one of its candidates."""

    folder: Path
    """Of the run, absolute."""

    pair: Pair

    @property
    def names(self) -> tuple[str, str]:
        """Both arms, the baseline first."""
        return BASELINE, self.pair.name

    def arm(self, name: str) -> ArmSpec:
        """Return what an arm is."""
        return self.pair.spec.arms[name]

    def checkpoint(self, name: str) -> CheckpointSummary:
        """Return what an arm served."""
        return self.pair.report.arms[name].checkpoint


def choose(run: Path, candidate: str | None, settings: Settings) -> Chosen:
    """Find the two models.

    Args:
        run: A run's folder, its `report.json`, or its name in the folder of the runs.
        candidate: Which one; not needed where the run has one with a result.
        settings: Where runs are kept.

    Raises:
        ReceiptError: There is no such run.
        SpecError: It has no such candidate, or several and none is named.
        WeightsError: The weights of one are gone, or not what was evaluated.
    """
    path = run.expanduser()
    path = path if path.exists() else settings.runs.expanduser() / run
    report = published.read(path)
    folder = (path if path.is_dir() else path.parent).absolute()
    for_run(folder)  # which stays as long as it is tried
    chosen = Chosen(folder, Pair(report, _named(report, candidate)))
    _require_weights(chosen)
    return chosen


def _named(report: Report, candidate: str | None) -> str:
    there = list(report.judged)
    if candidate is None and len(there) == 1:
        return there[0]
    listed = ", ".join(there)
    if candidate is None:
        if not there:
            raise SpecError(
                f"Run {report.run_id} has no candidate with a result.",
                cause="Two models are tried beside each other.",
                remedy="Name a run that compared a candidate with its baseline.",
            )
        raise SpecError(
            f"Run {report.run_id} has {len(there)} candidates: {listed}.",
            remedy="Name one by --candidate; in the form, in the field candidate.",
        )
    if candidate not in there:
        failed = report.failed.get(candidate, "")
        raise SpecError(
            f"Run {report.run_id} has no result of a candidate {candidate!r}.",
            cause=failed.partition("\n")[0] or f"It has {listed}.",
            remedy=f"Name one of {listed}." if there else "Name another run.",
        )
    return candidate


def _require_weights(chosen: Chosen) -> None:
    """Refuse folders that are gone or were changed; sizes are compared, nothing is read."""
    arms = {name: chosen.pair.report.arms[name] for name in chosen.names}
    for name in arms:
        folder = chosen.checkpoint(name).path
        adapter = chosen.checkpoint(name).adapter
        served = [folder, *([adapter.path] if adapter and not adapter.merged else [])]
        for one in served:
            used(one)
        if gone := next((one for one in served if not one.is_dir()), None):
            raise WeightsError(
                f"The weights of {name} are no longer there: {gone}.",
                cause="They were removed, or the run was made on another machine.",
                remedy="Start the same run again: it fetches or makes them anew, and keeps all "
                "else.",
            )
    both = chosen.pair.report.model_copy(update={"arms": arms})
    if wrong := check_weights(both, chosen.folder, read=False).wrong:
        raise WeightsError(
            f"The weights are not those that were evaluated: {wrong[0]}.",
            cause="Somebody changed them after the run.",
            remedy="Start the same run again, or try a run of the weights as they are now.",
        )
