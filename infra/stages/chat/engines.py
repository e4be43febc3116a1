"""Both engines, for as long as a `with` block: what they compute on, and how they share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import psutil

from infra.contracts.errors import AcceleratorsTaken
from infra.contracts.progress import Progress
from infra.contracts.specs import ServingSpec
from infra.engines.endpoint import ServedEndpoint
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine import cores
from infra.machine.device import Device, detect
from infra.machine.environments import ensure
from infra.machine.leases import Lease, lease
from infra.stages.chat import shares
from infra.stages.chat.choosing import Chosen
from infra.stages.chat.shares import Wanted
from infra.store.settings import Settings

_CONCURRENCY = 4
"""Messages at a time that an engine has room for: one a tab."""


@contextmanager
def served(
    chosen: Chosen, folder: Path, settings: Settings, progress: Progress
) -> Iterator[Mapping[str, ServedEndpoint]]:
    """Serve both arms, the one after the other, while the block runs."""
    arms = {name: chosen.arm(name) for name in chosen.names}
    devices = {name: detect(arm.serving.computes_on) for name, arm in arms.items()}
    environments = {
        name: ensure(
            engine_of(arm.serving).environment, devices[name].kind,
            settings=settings, progress=progress, log=folder / f"environment-{name}.log",
            python=Path(arm.serving.python) if arm.serving.python else None,
        )
        for name, arm in arms.items()
    }  # fmt: skip
    wanted = [Wanted(name, arm.serving, chosen.checkpoint(name).size_bytes)
              for name, arm in arms.items()]  # fmt: skip
    with ExitStack() as stack:
        what = f"chat about run {chosen.pair.report.run_id}"
        held = stack.enter_context(_held(wanted, list(devices.values()), what, settings, progress))
        servers: dict[str, ServedEndpoint] = {}
        parts = cores.parted(len(arms))
        for (name, arm), (serving, its_lease), part in zip(arms.items(), held, parts, strict=True):
            checkpoint, engine = chosen.checkpoint(name), engine_of(serving)
            adapter = checkpoint.adapter
            setup = Setup(
                checkpoint.path, serving, environments[name], devices[name],
                arm.model.trust_remote_code,
                adapter=None if adapter is None or adapter.merged else adapter,
            )  # fmt: skip
            progress.say(f"starting {name} with {engine.title}")
            with cores.confined(part) if devices[name].kind == "cpu" else nullcontext():
                servers[name] = stack.enter_context(
                    engine.serve(
                        setup, name=name, concurrency=_CONCURRENCY, logprobs=0,
                        log=folder / f"server-{name}.log", progress=progress, lease=its_lease,
                    )
                )  # fmt: skip
        yield servers


@contextmanager
def _held(
    wanted: list[Wanted], devices: list[Device], what: str, settings: Settings, progress: Progress
) -> Iterator[list[tuple[ServingSpec, Lease]]]:
    """Hold what both compute on: accelerators of their own where there are any, else the same."""
    names = [f"{what}, {one.name}" for one in wanted]
    sizes = [one.serving.tensor_parallel_size for one in wanted]
    apart = devices[0].kind != devices[1].kind
    with ExitStack() as stack:
        first = stack.enter_context(
            lease(
                devices[0], count=sizes[0] if apart else max(sizes), what=names[0],
                settings=settings, progress=progress,
            )
        )  # fmt: skip
        if not apart and devices[0].kind == "cpu":
            second = stack.enter_context(first.beside(names[1]))
            specs = shares.of_processor(wanted, psutil.virtual_memory().available)
            yield list(zip(specs, (first, second), strict=True))
            return
        now = settings if apart else settings.model_copy(update={"slot_wait_seconds": 0.0})
        try:
            second = stack.enter_context(
                lease(devices[1], count=sizes[1], what=names[1], settings=now, progress=progress)
            )
        except AcceleratorsTaken:
            if apart:
                raise
            second = stack.enter_context(first.beside(names[1]))
        if apart or set(second.slots.names) - set(first.slots.names):
            specs = shares.apart(wanted)
        else:
            specs = shares.of_accelerator(wanted, devices[0])
            progress.say("both share an accelerator: each has its part of the memory")
        yield list(zip(specs, (first, second), strict=True))
