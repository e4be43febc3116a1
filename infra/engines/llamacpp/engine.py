"""llama.cpp behind the port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.capability import Capability
from infra.contracts.layout import Layout
from infra.contracts.progress import Progress
from infra.contracts.records import Adjustment
from infra.contracts.specs import ServingSpec
from infra.engines.endpoint import ServedEndpoint
from infra.engines.llamacpp import conditions, refusals
from infra.engines.llamacpp.command import (
    VARIABLES,
    WEIGHTS,
    build_command,
    inherited,
    numbers,
)
from infra.engines.llamacpp.metrics import NAMES
from infra.engines.load import Names
from infra.engines.port import Kernels, Setup, ToolParser
from infra.engines.timing import Point, Timing, Worker
from infra.machine.cores import count as count_cores
from infra.machine.leases import Lease
from infra.machine.preloaded import Preloading
from infra.models.memory_need import Shape
from infra.store.content import digest_of


class LlamaCpp:
    """See `port.Engine` for what each method is."""

    name = "llamacpp"
    title = "llama.cpp"
    environment = "llamacpp"
    reads: Layout = "gguf"
    embeds = False
    largest_rank = None
    variables_prefix = VARIABLES

    @property
    def kernels(self) -> Kernels:
        """Return none: its log names no kernel."""
        return Kernels(frozenset(), frozenset())

    @property
    def metrics(self) -> Names:
        """What it calls its metrics."""
        return NAMES

    def check(
        self, serving: ServingSpec, shape: Shape | None, config: Mapping[str, Any]
    ) -> str | None:
        """Look for what it would refuse."""
        return refusals.check(serving, shape, config)

    def can(self, serving: ServingSpec) -> frozenset[Capability]:
        """Return what was seen of it: a text cannot be echoed, a token can be forced."""
        from infra.engines.llamacpp.server import CAN

        return CAN | {Capability.CHAT}

    def tool_parser(self, serving: ServingSpec, checkpoint: Path) -> ToolParser | None:
        """Return none: it calls no functions here."""
        return None

    def conditions(self, setup: Setup, digest: str) -> list[object]:
        """Return the command line, the variables, the environment and the device."""
        return conditions.conditions(setup, digest)

    def identity(self, conditions_: Sequence[object], adjustments: Sequence[Adjustment]) -> str:
        """Return the digest of the conditions: nothing is ever adjusted."""
        return digest_of([conditions_, []])

    def variables(self) -> Mapping[str, str]:
        """Return those that decide what is computed, or with what."""
        return conditions.deciding_variables(inherited())

    def named(self, serving: ServingSpec) -> Mapping[str, str | None]:
        """Look for files behind its flags and in variables."""
        return conditions.named(serving)

    @property
    def room(self) -> frozenset[str]:
        """Those for its slots and their context."""
        return conditions.ROOM

    @property
    def reads_on(self) -> bool:
        """Return that they do: llama.cpp maps the file."""
        return True

    def command(self, setup: Setup, concurrency: int | None) -> Sequence[str]:
        """Return it with as many slots as there is memory for now."""
        return build_command(
            python=setup.environment.python,
            model=setup.checkpoint,
            served_name="",
            port=0,
            spec=setup.serving,
            device=setup.device,
            concurrency=concurrency,
            cores=count_cores(),
            free_memory_bytes=psutil.virtual_memory().available,
        )

    def memory_share(self, serving: ServingSpec) -> float:
        """Return all of it: it takes what it needs, and reserves nothing."""
        return 1.0

    def by_hand(
        self, model: str, serving: ServingSpec, window: int, arguments: Sequence[str]
    ) -> Sequence[str]:
        """Return its own command."""
        command = ["llama-server", "--model", f"{model}/{WEIGHTS}", "--ctx-size", str(window)]
        return [*command, "--parallel", "1", *numbers(serving), *arguments]

    def load(self, setup: Setup, ahead: Preloading, log: Path) -> None:
        """Load nothing: it starts in a second."""

    def ahead(
        self, setup: Setup, server: ServedEndpoint, *, folder: Path, log: Path
    ) -> AbstractContextManager[Worker | None]:
        """Prepare nothing: it is timed from here."""
        return nullcontext()

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
        """Send random prompts and note when tokens come."""
        from infra.engines.llamacpp.timing import time_points

        return time_points(
            setup, server, points, budget_seconds=budget_seconds, log=log, progress=progress
        )

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
        """Run its server as a process."""
        from infra.engines.llamacpp.server import serve

        return serve(
            setup.checkpoint,
            arm=name,
            spec=setup.serving,
            concurrency=concurrency,
            environment=setup.environment,
            device=setup.device,
            log=log,
            progress=progress,
            lease=lease,
        )
