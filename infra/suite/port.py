"""What every kind of tasks offers, so that nobody else asks which kind it is.

A kind of tasks knows names, reads definitions and finds rows. `prepare` makes a suite of them,
which asks any server, and declares what its metrics are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.contracts.capability import Need
from infra.contracts.errors import AssayError, EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.engines.embeddings import Embedder
from infra.engines.endpoint import Endpoint
from infra.store.settings import Settings
from infra.suite.metrics import Metric
from infra.suite.rows import Documents
from infra.suite.sources import RowSource


@dataclass(frozen=True)
class AnswerFile:
    """Where the answers of one server are kept, so that a killed run continues where it stopped."""

    path: Path
    identity: str
    """All that decides an answer besides the question: checkpoint, engine, flags."""

    require: Callable[[], None] = field(default=lambda: None, compare=False)
    """Called before answers are written: raises if they may be of something else by now."""


@dataclass(frozen=True)
class Line:
    """What one line of the spec stands for, by its definitions alone."""

    spec: TaskSpec
    tasks: tuple[str, ...]
    """Tasks without subtasks, by the kind's own names."""

    sources: tuple[RowSource, ...]
    """Where its rows come from, each once; none where code takes them from wherever it likes."""

    here: bool
    """True if all its rows are in files here: loading it downloads nothing."""

    metrics: tuple[str, ...]
    hub_metrics: tuple[str, ...]
    """Those among them whose code is loaded from a hub."""

    needs: tuple[Need, ...]
    """What a server has to be able to do."""

    embeds: bool = False
    """Whether its marks depend on vectors of texts."""


@dataclass(frozen=True)
class PromptCheck:
    """What becomes of the first questions in the hands of one model."""

    refused: Sequence[AssayError] = ()
    """Why questions cannot become prompts of this model."""

    unfit: AssayError | None = None
    """Which prompt does not fit the window."""

    measured: bool = False
    """True if prompts were measured against the window."""

    beginning: str = ""
    """What comes before each prompt, for people; empty if nobody can say."""

    unread: str = ""
    """Variables of the template that are given in vain, for people; empty if none is."""

    @property
    def problems(self) -> list[AssayError]:
        """All that keeps the questions from being put to this model."""
        return [*self.refused, *([self.unfit] if self.unfit else [])]


class Suite(Protocol):
    """Every task of a spec, loaded and checked: the same for all arms."""

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks and groups in the order they run."""

    def metrics(self, name: str) -> Mapping[str, Metric]:
        """Return what is declared of each metric of a task or group, by its name."""

    def texts(self, seed: int) -> list[Iterator[str]]:
        """Return each task's questions, without worked examples, in an order by chance.

        Args:
            seed: The order is the same for the same seed.
        """

    def ask(
        self,
        name: str,
        server: Endpoint,
        tokenizer_path: Path | None,
        samples: Path,
        progress: Progress,
        answers: AnswerFile | None = None,
        *,
        order: int | None = None,
        only: Documents | None = None,
        trust_remote_code: bool = False,
        embedder: Embedder | None = None,
        following: str | None = None,
    ) -> TaskScores:
        """Ask the served model one task or group, and mark the answers.

        Must not be called on a thread that runs an event loop.

        Args:
            name: One of `names`.
            server: The server that answers.
            tokenizer_path: Folder of the checkpoint, for its own tokenizer; none for an endpoint
                that takes no tokens.
            samples: File that receives one JSON line for each document; see `infra.suite.rows`.
            progress: Hears about finished documents every second.
            answers: Where every answer is kept at once; None keeps none.
            order: Seed of the order in which questions are asked; None asks those that begin alike
                one after the other, which is quickest.
            only: Documents to evaluate, in the words they have among all others; None asks all.
            trust_remote_code: Allow a tokenizer that is code of the repository.
            embedder: Makes vectors of texts, for tasks that need some.
            following: What the same server is asked next, if that is known: its questions may be
                put together while the answers to these are awaited.

        Raises:
            EvaluationError: The server died or refused, or a prompt does not fit its window.
        """


class TaskKind(Protocol):
    """A kind of tasks. All but `prepare` and what it remembers is quick."""

    def line(
        self, task: TaskSpec, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> Line:
        """Return what a line of the spec stands for, without loading it.

        Raises:
            UnknownTask: Nobody knows the name.
            EvaluationError: It cannot run here.
        """

    def faults(self, tasks: Collection[TaskSpec], spec: EvaluationSpec, *,
               settings: Settings) -> Sequence[EvaluationError]:  # fmt: skip
        """Return what is wrong with the code of tasks, before their rows are downloaded."""

    def keys(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress | None = None
    ) -> dict[str, str | None]:
        """Return the digest of all that decides each task's scores besides the model, in order.

        None where the content of its rows is not known: nothing may be taken for its result.

        Raises:
            UnknownTask: Nobody knows a name.
            DatasetError: The rows of a dataset cannot be had.
        """

    def embedded(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress | None = None
    ) -> frozenset[str]:
        """Return the tasks of a spec whose marks depend on vectors of texts.

        Raises:
            UnknownTask: Nobody knows a name.
            EvaluationError: A task cannot run here.
        """

    def prepare(
        self,
        spec: EvaluationSpec,
        *,
        settings: Settings,
        progress: Progress,
        keys: Mapping[str, str | None] | None = None,
    ) -> Suite:
        """Load every task and check its marking, unless this process has done that already.

        Args:
            spec: The tasks and their conditions.
            settings: Where rows and definitions are kept.
            progress: Hears about every step.
            keys: What `keys` returned before; a suite of other ones is refused.

        Raises:
            DatasetError: A dataset is missing, gated, empty or of another shape.
            MarkingError: Right answers are not marked right.
            EvaluationError: A task cannot be run here, or something changed meanwhile.
        """

    def check(self, spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> None:
        """Load every task and check its marking, unless that was ever done for the same keys.

        Raises:
            EvaluationError: As for `prepare`.
        """

    def row_counts(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, int] | None:
        """Return how many rows of each task a margin can be held against.

        None if the tasks were never loaded; without tasks whose rows are no shares.
        """

    def repeats(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, int]:
        """Return how often each question is asked of tasks whose answers are drawn by chance."""

    def first_metrics(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, tuple[str, Metric]] | None:
        """Return the metric that each task or group is judged by, and what is declared of it.

        Without filter, and without groups that have none. None if the tasks were never loaded.
        """

    def prompts(
        self,
        spec: EvaluationSpec,
        folder: Path,
        *,
        window: int | None,
        trust_remote_code: bool,
        settings: Settings,
        progress: Progress,
    ) -> PromptCheck:
        """Put the first questions through a model's own tokenizer and template, and measure them.

        Args:
            spec: The tasks and their conditions.
            folder: Of the tokenizer.
            window: Tokens of prompt and answer together; None does not measure.
            trust_remote_code: Allow a tokenizer that is code of the repository.
            settings: Where rows are kept.
            progress: Hears about what takes long.

        Raises:
            CalibrationError: The tokenizer cannot be loaded.
        """
