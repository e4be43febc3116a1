"""Names of flow runs that say what runs, and tags to find them by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePath
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from infra.contracts.specs import EndpointRunSpec, MatrixSpec, ModelSpec, RunSpec
from infra.machine.device import detect

_GENERATED = re.compile(r"[A-Za-z]+-[A-Za-z]+")
"""Names that Prefect makes up: `fuzzy-otter`, and `Fuzzy-Otter` in its form. Any other was given by
somebody, and stays."""

_UNTOLD = {"model", "checkpoint", "weights", ""}
"""Folders that are called after their parents."""

_SHOWN = 3


def name_run(spec: RunSpec | EndpointRunSpec | MatrixSpec) -> None:
    """Give this flow run a name and tags by what it does.

    Without the Prefect API it keeps those that it has; nothing else depends on them.
    """
    name, tags = named(spec)
    with suppress(PrefectException, httpx.HTTPError), get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)
        client.update_flow_run(
            run.id,
            name=name if _GENERATED.fullmatch(run.name) else None,
            tags=list(dict.fromkeys([*run.tags, *tags])),
        )


def named(spec: RunSpec | EndpointRunSpec | MatrixSpec) -> tuple[str, list[str]]:
    """Return the name of a run, `qwen2.5-7b-instruct · awq-4bit-g128 · standard`, and its tags."""
    results = spec.results
    if isinstance(spec, EndpointRunSpec):
        model, what = spec.endpoint.model, [urlsplit(spec.endpoint.url).netloc]
        devices: list[str] = []
    elif isinstance(spec, MatrixSpec):
        model, what = "", _few(one.name or _called(one.model) for one in spec.models)
        devices = [spec.serving.computes_on]
    else:
        model, what = _called(spec.baseline.model), _few(one.name for one in spec.candidates)
        devices = [arm.serving.computes_on for arm in spec.evaluated.values()]
    kind = results.label.removeprefix(re.sub(r"[^a-z0-9]+", "-", model.lower())).lstrip("-")
    tags = [*_devices(devices), model, results.label]
    if results.notify:
        tags.append(f"assay.notify.{results.notify}")
    name = " · ".join(part for part in (model, ", ".join(what), kind) if part)
    return name, list(dict.fromkeys(tag for tag in tags if tag))


def _devices(wanted: Iterable[str]) -> set[str]:
    here = "gpu" if detect("auto").kind == "cuda" else "cpu"
    return {"cpu" if one == "cpu" else here for one in wanted}


def _few(names: Iterable[str]) -> list[str]:
    every = list(names)
    more = len(every) - _SHOWN
    return every if more <= 0 else [*every[:_SHOWN], f"{more} more"]


def _called(model: ModelSpec) -> str:
    """Return the short name of a model: the last part of its repository or its path."""
    *before, last = PurePath(model.id).parts or ("",)
    return (before[-1] if last in _UNTOLD and before else last).lower()
