"""All checks in the order of the table; those that wait for a network run beside the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.contracts.progress import Progress
from infra.contracts.specs import BASELINE, EvaluationSpec, RunSpec
from infra.models.hubs.hub import connect
from infra.preflight import (
    access,
    arms,
    capabilities,
    embedding,
    equipment,
    forecast,
    functions,
    margins,
    passages,
    plan,
    prefect_api,
    suite,
)
from infra.preflight.arms import Arms, Models, Talks, conversations_of
from infra.preflight.equipment import Equipment
from infra.preflight.findings import Finding, look, problems
from infra.preflight.lines import Lines
from infra.preflight.prefect_api import PrefectApi
from infra.report import baseline_pack
from infra.store.settings import Settings
from infra.suite import cutting

_THREADS = 16


def survey(
    spec: RunSpec,
    *,
    settings: Settings,
    progress: Progress,
    configured: Callable[[], PrefectApi | None],
    fetch_rows: bool = False,
    in_flow: bool = False,
) -> list[Finding]:
    """Look at everything the run needs, and say what was found.

    Args:
        spec: The run.
        settings: Where things are kept.
        progress: Hears about what takes long.
        configured: Returns the Prefect API that records the run; none where it brings one along.
        fetch_rows: If nothing is missing, also load the tasks whose rows are on a hub, which
            downloads them. Without it nothing is downloaded.
        in_flow: Prefect carries the run out, so its API was reached: a slow answer refuses nobody.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        elsewhere = _Elsewhere.ask(spec, settings, progress, pool, configured, in_flow=in_flow)
        there = equipment.look_at(spec, settings)
        with _usable(settings, there) as usable:
            return [*there.findings, *_rest(spec, elsewhere, there, usable, progress, fetch_rows)]


@dataclass(frozen=True)
class _Elsewhere:
    """Requests to others; they answer while this machine is looked at."""

    tasks: suite.Tasks
    rows_on_hubs: bool
    api: Future[Finding]
    models: Models
    talks: Talks
    rows: suite.Requests

    @classmethod
    def ask(
        cls,
        spec: RunSpec,
        settings: Settings,
        progress: Progress,
        pool: Executor,
        configured: Callable[[], PrefectApi | None],
        *,
        in_flow: bool,
    ) -> _Elsewhere:
        """Ask hubs and the Prefect API."""
        tasks = suite.read(spec.evaluation, settings, progress)
        places = [source.hub for source in tasks.sources if source.hub]
        conversations = [one for wanted in conversations_of(spec).values() for one in wanted]
        for hub in access.hubs(
            [*(arm.model for arm in spec.evaluated.values()), *embedding.models_of(spec)],
            conversations,
            places,
        ):
            connect(hub)  # imports its client: two threads must not do that at once
        api = pool.submit(prefect_api.looking(configured, in_flow=in_flow))
        models, talks = arms.ask(spec, settings, pool)
        return cls(
            tasks=tasks,
            rows_on_hubs=bool(places),
            api=api,
            models=models,
            talks=talks,
            rows=suite.ask_for_rows(tasks, settings, pool),
        )


def _rest(
    spec: RunSpec,
    elsewhere: _Elsewhere,
    there: Equipment,
    settings: Settings,
    progress: Progress,
    fetch_rows: bool,
) -> list[Finding]:
    """Look at models, tasks and what they can show, on a machine that was looked at."""
    found = arms.look_at(spec, there.devices, elsewhere.models, elsewhere.talks, settings, progress)
    findings = list(found.findings)
    embedder = embedding.look_at(spec, there.devices, settings, progress, elsewhere.tasks.lines)
    findings += embedder.findings
    if there.cache_is_usable:
        beside = there.to_build + embedder.to_download
        findings.append(arms.disk(spec, found, beside, settings))
    findings.append(elsewhere.api.result())
    looked, missing = suite.rows(elsewhere.rows, spec.evaluation)
    findings += [
        *elsewhere.tasks.findings,
        *capabilities.look_at(spec, elsewhere.tasks.lines),
        *embedding.unused(spec.evaluation, elsewhere.tasks.lines),
        *functions.look_at(
            spec, elsewhere.tasks.lines, {name: one.folder for name, one in found.models.items()}
        ),
        *passages.look_at(spec.evaluation, elsewhere.tasks.lines),
        *looked,
    ]
    if spec.baseline_pack is not None:
        findings.append(look("baseline pack", partial(_pack, spec, settings)))
    whole = fetch_rows and not problems([*there.findings, *findings])
    loaded = suite.load(elsewhere.tasks, missing, spec.evaluation, settings, progress, whole=whole)
    findings += loaded.findings
    if elsewhere.tasks.lines:
        findings += _prompts(spec, found, loaded, settings, progress)
    if loaded.whole:
        findings += margins.look_at(spec, settings, progress)
        findings += plan.look_at(spec, settings, progress)
        shapes = {name: one.shape for name, one in found.models.items()}
        findings += forecast.look_at(spec, there.devices, shapes, settings, progress)
    elif loaded.waiting:
        findings.append(plan.later(spec.judged_verdict, loaded.waiting))
    if whole and elsewhere.rows_on_hubs:
        findings[-1] = findings[-1].model_copy(update={"downloaded": True})
    return findings


def _pack(spec: RunSpec, settings: Settings) -> str:
    pack = baseline_pack.check(Path(spec.baseline_pack or "").expanduser(), spec, settings)
    return f"{pack.result.checkpoint.model} of run {pack.run_id}, evaluated alike on this engine"


def _prompts(
    spec: RunSpec, found: Arms, loaded: suite.Loaded, settings: Settings, progress: Progress
) -> list[Finding]:
    """Look at the first questions with the tokenizer of each arm, each once for each window."""
    lines = Lines(spec)
    seen: set[object] = set()
    part = _cut(spec, found, loaded, settings, progress)
    for name in spec.evaluated:
        writer = name if spec.evaluation.tokenizer == "own" else BASELINE
        folder, window = found.models[writer].folder, found.models[name].window
        trusted = spec.arms[writer].model.trust_remote_code
        if folder is None:
            if spec.arms[writer].model.source != "local":
                lines.add(name, suite.WITH_THE_MODEL)
        elif part and (folder, window, trusted) not in seen:
            seen.add((folder, window, trusted))
            talk = next(
                (said for other, said in found.conversations.items()
                 if found.models[other].folder == folder), None,
            )  # fmt: skip
            lines.extend(name, suite.look_at_prompts(
                part, folder, window, trusted, talk, settings, progress
            ))  # fmt: skip
    return lines.findings


def _cut(
    spec: RunSpec, found: Arms, loaded: suite.Loaded, settings: Settings, progress: Progress
) -> EvaluationSpec | None:
    """Return the tasks that are loaded as the arms are asked them."""
    name = BASELINE if BASELINE in spec.evaluated else next(iter(spec.evaluated))
    model = found.models[name]
    if loaded.part is None or model.folder is None:
        return loaded.part
    return cutting.cut(
        loaded.part, model.folder, model.window, settings=settings, progress=progress,
        trust_remote_code=spec.arms[name].model.trust_remote_code,
    )  # fmt: skip


@contextmanager
def _usable(settings: Settings, there: Equipment) -> Iterator[Settings]:
    """Give the checks that remember things a cache of their own where the real one is unusable."""
    if there.cache_is_usable:
        yield settings
        return
    with TemporaryDirectory(prefix="assay-") as spare:
        yield settings.model_copy(update={"cache": Path(spare)})
