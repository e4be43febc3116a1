"""What a run takes from other machines before it begins, and leaves them when it is finished."""

from __future__ import annotations

from infra.contracts.errors import HistoryError
from infra.contracts.progress import Progress
from infra.contracts.records import Report
from infra.contracts.specs import ResultsSpec
from infra.stages.run_key import shared_key
from infra.store.history.exchange import exchange
from infra.store.run_folder import RunFolder, runs_folder
from infra.store.settings import Settings
from infra.store.shared import shared_of


def take_history(results: ResultsSpec, settings: Settings, progress: Progress) -> None:
    """Take over what other machines have run: what is judged by earlier runs needs it."""
    _exchange(results, settings, progress)


def leave(
    run: RunFolder,
    results: ResultsSpec,
    settings: Settings,
    progress: Progress,
    finished: Report | None = None,
) -> None:
    """Leave a finished run to other machines: its folder, its rows of the history.

    Args:
        run: The run.
        results: Where it was kept.
        settings: What machines share.
        progress: Hears what could not be left.
        finished: Its report, by which the same run is found again.
    """
    shared = shared_of(settings, progress)
    if shared is None:
        return
    shared.keep_run(run.path)
    if finished is not None and (key := finished.provenance.get("run_key")):
        shared.keep_finished(shared_key(key, finished.spec), run.id)
    _exchange(results, settings, progress, newest=run.id)


def _exchange(
    results: ResultsSpec, settings: Settings, progress: Progress, *, newest: str = ""
) -> None:
    shared = shared_of(settings, progress)
    if shared is None:
        return
    with shared.or_without():
        try:
            exchange(runs_folder(results, settings), shared.place, newest=newest)
        except HistoryError as error:
            progress.say(f"Runs of other machines are not taken over: {error.fact}")
