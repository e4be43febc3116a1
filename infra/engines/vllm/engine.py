"""vLLM behind the port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.capability import Capability
from infra.contracts.layout import Layout
from infra.contracts.progress import Progress
from infra.contracts.records import Adjustment
from infra.contracts.specs import ServingSpec
from infra.engines.endpoint import ServedEndpoint
from infra.engines.load import Names
from infra.engines.port import Kernels, Setup, ToolParser
from infra.engines.timing import Point, Timing, Worker
from infra.engines.vllm import conditions, refusals
from infra.engines.vllm.command import (
    GPU_MEMORY_FRACTION,
    LARGEST_RANK,
    VARIABLES,
    build_command,
    inherited,
)
from infra.engines.vllm.kernels import KERNELS
from infra.engines.vllm.metrics import NAMES
from infra.machine.cores import count as count_cores
from infra.machine.leases import Lease
from infra.machine.preloaded import Preloading
from infra.models.memory_need import Shape


class Vllm:
    """See `port.Engine` for what each method is."""

    name = "vllm"
    title = "vLLM"
    environment = "vllm"
    reads: Layout = "transformers"
    embeds = True
    largest_rank: int | None = LARGEST_RANK
    variables_prefix = VARIABLES

    @property
    def kernels(self) -> Kernels:
        """The kernels it is known to have."""
        return KERNELS

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
        """Return all: it has an answer to every kind of question."""
        return frozenset(Capability)

    def tool_parser(self, serving: ServingSpec, checkpoint: Path) -> ToolParser | None:
        """Return the one that the spec names, or that the chat template's own marks tell."""
        from infra.engines.vllm.tool_parsers import parser_of

        return parser_of(serving, checkpoint)

    def conditions(self, setup: Setup, digest: str) -> list[object]:
        """Return the command line, the variables, the environment and the device."""
        return conditions.conditions(setup, digest)

    def identity(self, conditions_: Sequence[object], adjustments: Sequence[Adjustment]) -> str:
        """Return the digest of both."""
        return conditions.answers_of(conditions_, adjustments)

    def variables(self) -> Mapping[str, str]:
        """Return those that decide what is computed, or with what."""
        return conditions.deciding_variables(inherited())

    def named(self, serving: ServingSpec) -> Mapping[str, str | None]:
        """Look for files behind its flags and in variables."""
        return conditions.named(serving)

    @property
    def room(self) -> frozenset[str]:
        """Those for its cache and for sequences."""
        return conditions.ROOM

    @property
    def reads_on(self) -> bool:
        """Return that they do not: all weights are copied when it starts."""
        return False

    def command(self, setup: Setup, concurrency: int | None) -> Sequence[str]:
        """Return it with the cache that there is memory for now."""
        return build_command(
            python=setup.environment.python,
            model=setup.checkpoint,
            served_name="",
            port=0,
            spec=setup.serving,
            device=setup.device,
            concurrency=concurrency,
            trust_remote_code=setup.trust_remote_code,
            adapter=setup.adapter,
            pooling=setup.pooling,
            tool_parser=setup.tool_parser,
            free_memory_bytes=psutil.virtual_memory().available,
            cores=count_cores(),
        )

    def memory_share(self, serving: ServingSpec) -> float:
        """Return what was asked for, or our default."""
        return serving.memory_fraction or GPU_MEMORY_FRACTION

    def by_hand(
        self, model: str, serving: ServingSpec, window: int, arguments: Sequence[str]
    ) -> Sequence[str]:
        """Return its own command."""
        command = ["vllm", "serve", model, "--max-model-len", str(window), "--dtype", serving.dtype]
        if serving.tensor_parallel_size > 1:
            command += ["--tensor-parallel-size", str(serving.tensor_parallel_size)]
        return [*command, *arguments]

    def load(self, setup: Setup, ahead: Preloading, log: Path) -> None:
        """Import it, which takes ten seconds."""
        from infra.engines.vllm.server import load_ahead

        load_ahead(
            ahead, setup.checkpoint,
            spec=setup.serving, environment=setup.environment, device=setup.device, log=log,
        )  # fmt: skip

    def ahead(
        self, setup: Setup, server: ServedEndpoint, *, folder: Path, log: Path
    ) -> AbstractContextManager[Worker | None]:
        """Load vLLM for its own benchmark."""
        from infra.engines.vllm.timing.command import worker

        return worker(setup, server, folder=folder, log=log)

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
        """Run its own benchmark beside the server, in the server's environment."""
        from infra.engines.vllm.timing.command import time_points

        return time_points(
            setup, server, points,
            budget_seconds=budget_seconds, folder=folder, log=log, progress=progress, ahead=ahead,
        )  # fmt: skip

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
        """Run its API server as a process."""
        from infra.engines.vllm.server import serve

        return serve(
            setup.checkpoint,
            arm=name,
            spec=setup.serving,
            concurrency=concurrency,
            environment=setup.environment,
            device=setup.device,
            trust_remote_code=setup.trust_remote_code,
            log=log,
            progress=progress,
            lease=lease,
            logprobs=logprobs,
            adapter=setup.adapter,
            pooling=setup.pooling,
            tool_parser=setup.tool_parser,
        )
