"""Room for the run: on the disk, in main memory, on the accelerator."""

from __future__ import annotations

import shutil

from infra.contracts.errors import NotEnough
from infra.contracts.specs import Recipe, ServingSpec
from infra.engines.registry import engine_of
from infra.machine.device import Device
from infra.models.memory_need import (
    GIB,
    Serving,
    Shape,
    main_memory,
    serving,
)
from infra.preflight.findings import Finding, look, note
from infra.preflight.machine import existing
from infra.quantizers import quantizer_of
from infra.store.settings import Settings

_CACHE_BYTES = GIB // 2
"""Rows, answers and scores of one run."""


def disk(settings: Settings, checkpoints: int, download: int, environments: int) -> Finding:
    """Check the disk that holds environments, weights and checkpoints.

    Args:
        settings: Where they are kept.
        checkpoints: Bytes of those that are made here.
        download: Bytes of what is fetched.
        environments: Bytes of those that are built.
    """
    needed = environments + download + checkpoints + _CACHE_BYTES
    free = shutil.disk_usage(existing(settings.cache)).free

    def check() -> str:
        if free < needed:
            raise NotEnough(
                f"Disk: {settings.cache} has {_gib(free)} free, the run needs about "
                f"{_gib(needed)} for environments, weights and checkpoints.",
                cause=f"{_gib(environments)} for environments, {_gib(download)} to download, "
                f"{_gib(checkpoints)} for checkpoints, {_gib(_CACHE_BYTES)} besides.",
                remedy="Free some, or point ASSAY_CACHE to a larger disk.",
            )
        return f"{_gib(needed)} needed, {_gib(free)} free"

    return look("disk", check)


def quantizer_memory(spec: Recipe, shape: Shape, device: Device | None) -> Finding:
    """Check main memory, and one GPU, for the quantizer."""
    name = "memory to quantize"
    quantizer = quantizer_of(spec)
    need = quantizer.need(shape, spec, gpu=device is None or device.kind == "cuda")
    total, free = main_memory()
    text = f"{_about(shape)} {_gib(need.host)} of main memory"
    text += f" and {_gib(need.device)} of the GPU" if need.device else ""

    def check() -> Finding | str:
        if need.host > total:
            raise NotEnough(
                f"Main memory: {quantizer.title} needs {text}; this machine has {_gib(total)}.",
                cause="It holds the whole unquantized model in main memory.",
                remedy="Run on a machine with more, or take a smaller model.",
            )
        if device and device.kind == "cuda" and need.device > device.memory_bytes:
            # An estimate from one measurement refuses nobody.
            return note(
                name,
                f"{text}, which has {_gib(device.memory_bytes)}: if it does not suffice, lower "
                "quantization.calibration.max_samples or .max_sequence_length",
            )
        if need.host > free:
            return note(name, f"{text}; only {_gib(free)} are free now")
        return f"{text}, of {_gib(total)}"

    return look(name, check)


def serving_memory(spec: ServingSpec, shape: Shape, device: Device | None) -> Finding:
    """Check that a model as it comes and one request of a whole window fit."""
    name = "memory to serve"
    need = serving(shape, spec)
    parts = spec.tensor_parallel_size
    text = (
        f"{_about(shape)} {_gib(need.total)}: {_gib(need.weights)} of weights, {_gib(need.cache)} "
        f"of cache for {need.window} tokens, {_gib(need.besides)} besides"
    )
    text += f", on each of {parts} GPUs" if parts > 1 else ""

    def check() -> Finding | str:
        if device is None:
            return note(name, f"{text}; there is no accelerator to compare with")
        if device.kind == "cpu":
            room, free = main_memory()
        else:
            room = free = int(device.memory_bytes * engine_of(spec).memory_share(spec))
        alone = need.weights + need.besides > room
        # An engine that may adjust takes a shorter window; arguments may make the cache smaller.
        if need.total > room and not alone and (spec.adjust or spec.extra_args):
            return note(name, f"{text}; of {_gib(room)}: not the whole window at once")
        if need.total > room:
            raise NotEnough(
                f"Serving needs {text}; there are {_gib(room)} of {device.name}.",
                cause="It is served as it comes."
                if alone
                else "One request must fit with its whole window.",
                remedy=_smaller(need, room, parts),
            )
        if need.total > free:
            return note(name, f"{text}; only {_gib(free)} are free now")
        return f"{text}; of {_gib(room)}"

    return look(name, check)


def _smaller(need: Serving, room: int, parts: int) -> str:
    window = need.longest_window(room) // 64 * 64
    if window >= 64:
        return f"Set serving.max_model_len to {window} or less."
    cards = parts
    while cards < 64 and (need.weights + need.cache) * parts // cards + need.besides > room:
        cards *= 2
    return (
        f"Set serving.tensor_parallel_size to {cards} on a machine with as many GPUs, raise "
        "serving.memory_fraction, or take a smaller model."
    )


def _about(shape: Shape) -> str:
    return "about (guessed from the name)" if shape.guessed else "about"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
