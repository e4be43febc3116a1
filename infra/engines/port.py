"""What an engine is: whoever serves checkpoints, and knows what decides their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from infra.contracts.capability import Capability
from infra.contracts.layout import Layout
from infra.contracts.progress import Progress
from infra.contracts.records import Adapter, Adjustment, PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.contracts.specs.embedding import Pooling
from infra.engines.endpoint import ServedEndpoint
from infra.engines.load import Names
from infra.engines.timing import Point, Timing, Worker
from infra.machine.device import Device
from infra.machine.leases import Lease
from infra.machine.preloaded import Preloading
from infra.models.memory_need import Shape


@dataclass(frozen=True)
class Setup:
    """What shall be served, and with what."""

    checkpoint: Path
    """Folder of the model."""

    serving: ServingSpec
    """How, as in the spec."""

    environment: PythonEnvironment
    """Interpreter with the engine."""

    device: Device
    """What it computes on."""

    trust_remote_code: bool = False
    """Run code that comes with the model."""

    adapter: Adapter | None = None
    """What the engine applies beside the model's weights."""

    pooling: Pooling | None = None
    """Set, it makes vectors of texts, and no texts; only of an engine that `embeds`."""

    tool_parser: str | None = None
    """What reads calls out of its answers; none where no task lets it call functions."""


class ToolParser(NamedTuple):
    """What reads calls of functions out of a model's answers."""

    name: str
    """As the engine calls it."""

    because: str
    """What tells that it fits, for people."""


class Kernels(NamedTuple):
    """What an engine computes quantized layers with, by the names in its log."""

    fast: frozenset[str]
    slow: frozenset[str]
    """What it falls back to where no fast one takes the layer's shapes or the device."""


class Engine(Protocol):
    """One kind of engine. `registry.engine_of` returns the one that settings are for."""

    @property
    def name(self) -> str:
        """In records and keys."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def environment(self) -> str:
        """Environment that it runs in, as `infra/environments` calls it."""

    @property
    def reads(self) -> Layout:
        """Layout of the weights that it reads."""

    @property
    def embeds(self) -> bool:
        """Whether its servers can make vectors of texts."""

    @property
    def largest_rank(self) -> int | None:
        """Largest rank of an adapter that it applies as it serves; none if it applies none."""

    @property
    def variables_prefix(self) -> str:
        """What the names of its own environment variables begin with."""

    @property
    def kernels(self) -> Kernels:
        """The kernels it is known to have."""

    @property
    def metrics(self) -> Names:
        """What it calls its metrics."""

    def check(
        self, serving: ServingSpec, shape: Shape | None, config: Mapping[str, Any]
    ) -> str | None:
        """Say what is known of how it serves a model; none if too little is known of the model.

        Args:
            serving: How it shall be served.
            shape: Of the model, if it is known.
            config: Its config.json; empty if it cannot be read yet.

        Raises:
            Unservable: It would refuse it.
        """

    def can(self, serving: ServingSpec) -> frozenset[Capability]:
        """Return what its servers can be asked for, as far as that goes by their settings.

        A model may know less: one without a chat template answers no chat.
        """

    def tool_parser(self, serving: ServingSpec, checkpoint: Path) -> ToolParser | None:
        """Return what reads calls out of a model's answers; none if it finds that by itself.

        Args:
            serving: How the model is served.
            checkpoint: Its folder, with the chat template.

        Raises:
            Unservable: Nobody knows what calls look like in its chat template.
        """

    def conditions(self, setup: Setup, digest: str) -> list[object]:
        """Return all that decides what a checkpoint answers, besides the questions.

        What reads calls out of answers is not in it: it is in the key of tasks that have any.

        Args:
            setup: What is served. Its folder may be one of the same configuration.
            digest: Of the checkpoint.
        """

    def identity(self, conditions: Sequence[object], adjustments: Sequence[Adjustment]) -> str:
        """Return the key of the answers of one server that was started under some conditions.

        Args:
            conditions: See `conditions`.
            adjustments: What was changed because it did not come up with its spec.
        """

    def variables(self) -> Mapping[str, str]:
        """Return the variables of this process that would reach it and may change an answer."""

    def named(self, serving: ServingSpec) -> Mapping[str, str | None]:
        """Return what settings and variables name that lies here, each with its digest.

        None where nobody can tell what it holds.
        """

    @property
    def room(self) -> frozenset[str]:
        """Return the flags whose value makes room: it decides how fast it is, and no number."""

    @property
    def reads_on(self) -> bool:
        """Return whether its servers read a model's files as long as they serve, mapped into their
        memory: who writes to one then changes what is answered.
        """

    def command(self, setup: Setup, concurrency: int | None) -> Sequence[str]:
        """Return the command that would serve a checkpoint now, but for names and places.

        How much room it makes may go by the memory that is free.

        Args:
            setup: What is served.
            concurrency: Questions that shall fit at a time; None leaves that to the engine.
        """

    def memory_share(self, serving: ServingSpec) -> float:
        """Return the share of an accelerator's memory that it takes."""

    def by_hand(
        self, model: str, serving: ServingSpec, window: int, arguments: Sequence[str]
    ) -> Sequence[str]:
        """Return the command with which whoever deploys a model serves it as it was evaluated.

        Args:
            model: Its folder or its name on a hub.
            serving: How the spec serves it.
            window: Tokens of prompt and answer together, as it was served.
            arguments: Further ones of the engine that belong to the model.
        """

    def load(self, setup: Setup, ahead: Preloading, log: Path) -> None:
        """Have the engine loaded for a server that will be wanted soon, if it takes long to load.

        Args:
            setup: What will be served. Its folder may be one of the same configuration.
            ahead: What the run has loaded.
            log: Receives all that is printed meanwhile; overwritten.
        """

    def ahead(
        self, setup: Setup, server: ServedEndpoint, *, folder: Path, log: Path
    ) -> AbstractContextManager[Worker | None]:
        """Prepare to time a server while it is asked other things; none where nothing has to be.

        What is prepared ends with the block. Arguments as of `time`, which takes it.
        """

    def time(
        self,
        setup: Setup,
        server: ServedEndpoint,
        points: Sequence[Point],
        *,
        budget_seconds: float | None,
        folder: Path,
        log: Path,
        progress: Progress,
        ahead: Worker | None = None,
    ) -> Timing:
        """Measure how fast a server is. No earlier request makes it faster.

        Args:
            setup: What is served.
            server: Where, alive.
            points: Where to measure; without any nothing is timed.
            budget_seconds: After so many no point begins but the first; none for all.
            folder: Receives files that are worth a look afterwards.
            log: Receives all that whoever measures prints; overwritten.
            progress: Called every second.
            ahead: What was prepared, with the same folder and log.

        Raises:
            ProcessError: It could not be measured.
            ServerError: The server ended meanwhile, or computes nothing any more.
        """

    def serve(
        self,
        setup: Setup,
        *,
        name: str,
        concurrency: int | None,
        logprobs: int,
        log: Path,
        progress: Progress,
        lease: Lease | None = None,
    ) -> AbstractContextManager[ServedEndpoint]:
        """Serve a checkpoint while the block runs; afterwards nothing of the engine is left.

        Args:
            setup: What is served.
            name: Of the arm, for people: the model's name begins with it.
            concurrency: Questions that shall fit at a time; None leaves that to the engine.
            logprobs: Likeliest tokens that a question will ask for at a position.
            log: Receives all that the engine prints; overwritten.
            progress: Hears what it is doing until it answers.
            lease: Accelerators it may use; it holds them as long as it lives.

        Raises:
            ServerError: It did not come up, not as the evaluation needs it, or ended in the block.
        """
