"""One finished task of one checkpoint, in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from infra.contracts.records import ServerRecord, TaskScores
from infra.store.content import Behind, code_digest, digest_of, is_there, write_atomically
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.store.usage import used

_CODE = (
    *("stages/arms.py", "probes/subject.py", "store/stored_scores.py"),
    "models/template_clock.py",
)
"""Code that decides which arm gets which questions, by which tokenizer, and what is kept of it."""


REPEATED = {"repeat": True}
"""Among the conditions of an arm that is asked a second time: nothing is taken from the first."""


def tokenized(baseline: str) -> dict[str, str]:
    """Return what is among the conditions of an arm whose prompts the baseline's tokenizer writes,
    where that comes from another model: this one, by its digest.
    """
    return {"tokenizer": baseline}


def scores_of(settings: Settings, key: object, conditions: Sequence[object]) -> Path:
    """Return the folder of what an arm scores on a task, or on several that are asked together.

    Args:
        settings: Where scores are kept.
        key: Digest of all that decides it besides the arm, or those of the tasks.
        conditions: All that decides what the arm answers.
    """
    return settings.scores / digest_of([key, [*conditions], code_digest(*_CODE)])[:32]


class Stored:
    """The folder of one finished task: its scores, its rows, and the engine that answered."""

    SAMPLES = "samples.jsonl"
    _SCORES = "scores.json"
    _SERVER = "server.json"
    _LOG = "server.log"

    def __init__(
        self, folder: Path, behind: Behind | None = None, *, entry: Path | None = None
    ) -> None:
        """Name a task's folder.

        Args:
            folder: The folder.
            behind: A store that other machines share.
            entry: What appears in one piece, if that is a folder around this one.
        """
        self.folder = folder
        self.behind = behind
        self.entry = entry or folder

    @property
    def present(self) -> bool:
        """True if the task is finished, here or on another machine: then it is brought."""
        used(self.folder)
        return is_there(self.entry, self.behind) and self.folder.is_dir()

    def share(self) -> None:
        """Let other machines have it, if they do not yet."""
        if self.behind is not None:
            self.behind.keep(self.entry)

    @property
    def scores(self) -> TaskScores:
        """Its scores, with the rows where they are kept."""
        scores = TaskScores.model_validate_json((self.folder / self._SCORES).read_text())
        return placed(scores, samples=str(self.folder / self.SAMPLES))

    def keep(self, scores: TaskScores, server: ServerRecord, log: Path) -> None:
        """Put everything but the rows into the folder, which is still being built.

        Args:
            scores: Of the task.
            server: The engine that answered.
            log: Its log.
        """
        self.keep_scores(scores)
        write_atomically(self.folder / self._SERVER, server.model_dump_json(indent=2))
        shutil.copyfile(log, self.folder / self._LOG)

    def keep_scores(self, scores: TaskScores) -> None:
        """Put the scores into the folder, of an endpoint whose engine is not ours to know."""
        scores = placed(scores, samples=self.SAMPLES)
        write_atomically(self.folder / self._SCORES, scores.model_dump_json(indent=2))

    def bring_server(self, arm: str, run: RunFolder, *, reused: bool) -> ServerRecord:
        """Return the engine that answered; bring its log if that was in an earlier run."""
        record = ServerRecord.model_validate_json((self.folder / self._SERVER).read_text())
        if not reused:
            return record
        log = run.log(f"server-{arm}-reused")
        shutil.copyfile(self.folder / self._LOG, log)
        return record.model_copy(update={"log": log.relative_to(run.path).as_posix()})

    def bring(self, arm: str, run: RunFolder, *, reused: bool) -> TaskScores:
        """Copy the sample rows into the run's folder and return the scores."""
        scores = self.scores
        rows = run.samples(arm) / f"{scores.name}.jsonl"
        rows.parent.mkdir(parents=True, exist_ok=True)  # names of tasks may hold a slash
        shutil.copyfile(self.folder / self.SAMPLES, rows)
        return placed(scores, samples=rows.relative_to(run.path).as_posix(), reused=reused)


def placed(scores: TaskScores, **here: object) -> TaskScores:
    """Return scores that say where their rows are, and so do all below them."""
    subtasks = {name: placed(sub, **here) for name, sub in scores.subtasks.items()}
    return scores.model_copy(update={**here, "subtasks": subtasks})
