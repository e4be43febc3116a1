"""What is measured on a server beside the tasks, and must never cost a run its scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

from infra.contracts.capability import Need, named, unmet
from infra.contracts.errors import ProcessError, ServerDied, ServerHung, ServerUnverified
from infra.contracts.records import Record
from infra.engines.endpoint import ServedEndpoint
from infra.probes.subject import Subject


class Probe(ABC):
    """Something measured on one arm while it is served, and kept for later runs.

    It never costs a run its scores: what fails is said and left out, and an engine that dies of it
    is started again once at most, if the run may start it again at all.
    """

    missed: ClassVar[str]
    """What to say when it failed: `not timed`."""

    needs: ClassVar[tuple[Need, ...]]
    """What a server has to be able to do."""

    field: ClassVar[str]
    """Field of `ArmResult` that holds what it found."""

    def __init__(self, subject: Subject) -> None:
        """Prepare to measure an arm; nothing is requested yet."""
        self._subject = subject
        self._spec = subject.spec
        self._run = subject.run
        self._settings = subject.settings
        self._progress = subject.progress
        self._tries = 0
        self._require: Callable[[], None] = lambda: None
        self.left_out = ""
        """Why nothing was measured; empty if it was, or was not wanted."""

    @property
    @abstractmethod
    def present(self) -> bool:
        """Whether no request is needed: it is not wanted, or an earlier run has measured."""

    @property
    def wanted(self) -> bool:
        """Whether a server is needed. One that cannot answer is not started for it."""
        if self.present:
            return False
        subject = self._subject
        if missing := unmet(self.needs, subject.engine.can(subject.setup.serving)):
            if not self.left_out:
                self._miss(f"{subject.engine.title} has no {named(missing)}.")
            return False
        return True

    @abstractmethod
    def found(self) -> Record | None:
        """Return what is kept, with its files brought into the run's folder; none if nothing is."""

    @abstractmethod
    def _measure(self, server: ServedEndpoint) -> None:
        """Measure, and keep what was measured."""

    def ahead(self, server: ServedEndpoint) -> AbstractContextManager[None]:
        """Prepare to measure, while the block has the server asked other things."""
        return nullcontext()

    def take(
        self,
        server: ServedEndpoint,
        *,
        restarts_left: int,
        require: Callable[[], None] = lambda: None,
    ) -> None:
        """Measure if it has to be. Whatever fails is said, and nothing is kept.

        Args:
            server: Serves the arm.
            restarts_left: How often the run may still start it again.
            require: Raises if what is served may be another model by now; called before anything
                is kept.

        Raises:
            ServerError: The engine died or hung; it is worth another start.
        """
        if not self.wanted:
            return
        self._tries += 1
        self._require = require
        try:
            self._measure(server)
        except (ServerDied, ServerHung) as error:
            if self._tries == 1 and restarts_left > 0:
                raise
            self._miss(f"{error} The scores are kept; it is not started again for this.")
        except (ServerUnverified, ProcessError, OSError, ValueError) as error:
            self._miss(f"{error} The scores are not touched by this.")

    def _miss(self, why: str) -> None:
        self.leave_out(why)
        self._say(f"{self.missed}. {why}")

    def leave_out(self, why: str) -> None:
        """Keep for the report why nothing was measured: of an error its first line."""
        self.left_out = f"{self.missed}. {why.splitlines()[0]}"

    def _say(self, text: str) -> None:
        self._subject.say(text)
