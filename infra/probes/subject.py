"""What is measured: one arm, all that decides what it answers, and where that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint
from infra.contracts.specs import BASELINE, ArmSpec, RunSpec
from infra.engines.port import Engine, Setup
from infra.store.content import Behind, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings


@dataclass(frozen=True)
class Subject:
    """One arm of one run."""

    name: str
    """Of the arm: `baseline`, or the candidate's."""

    arm: ArmSpec
    """Of the run, whole."""

    checkpoint: Checkpoint
    """What is served."""

    tokenizer: Path
    """Folder with the tokenizer and the chat template that write its prompts."""

    spec: RunSpec
    engine: Engine
    setup: Setup
    """What the engine serves, and with what."""

    conditions: tuple[object, ...]
    """All that decides what it answers besides the questions, for whatever is kept of it."""

    answered: tuple[object, ...]
    """The same for single answers, which go by the command of the server as well."""

    run: RunFolder
    """Receives files and logs."""

    settings: Settings
    """Where results are kept."""

    progress: Progress

    behind: Behind | None = None
    """Store that other machines share; none if there is none."""

    @property
    def identity(self) -> str:
        """Digest of all that decides what it answers besides the questions."""
        return digest_of(self.conditions)

    @property
    def trusts_tokenizer(self) -> bool:
        """Whether the tokenizer may be code of its repository: as whose it is was trusted."""
        own = self.spec.evaluation.tokenizer == "own"
        return (self.arm if own else self.spec.baseline).model.trust_remote_code

    @property
    def is_baseline(self) -> bool:
        """Whether the others are held against it."""
        return self.name == BASELINE

    def say(self, text: str) -> None:
        """Say something about this arm."""
        self.progress.say(f"{self.name}: {text}")
