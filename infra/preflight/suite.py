"""The tasks: every name found, every row and metric in reach, and loaded where it costs nothing.

Rows that are here are loaded and their marking is checked at once. Rows on a hub are only asked
for; they are loaded, and so downloaded, when nothing else is missing.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.contracts.errors import (
    AssayError,
    CalibrationError,
    DatasetError,
    EvaluationError,
    TemplateError,
    WeightsError,
)
from infra.contracts.progress import Progress
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.preflight import access
from infra.preflight.findings import Finding, look, named, note, ok, problem
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.port import Line
from infra.suite.sources import RowSource, refused

_TASKS, _METRICS, _ROWS, _MARKING = "tasks", "metrics", "rows", "marking"
_PROMPTS, _BOS, _FIT = "prompts", "BOS", "fit"

WITH_THE_MODEL = note(
    _PROMPTS,
    "the first questions are put through the tokenizer and chat template when the model is "
    "downloaded, before anything is started with it",
)
"""Instead of `look_at_prompts`, where there is no tokenizer yet."""

Requests = list[tuple[RowSource, Future[Finding | str]]]
"""Each source of rows, and what is known of it once its hub has answered."""


@dataclass(frozen=True)
class Tasks:
    """What the lines of the spec read."""

    findings: list[Finding]
    lines: list[Line]
    """Without unknown names."""

    @property
    def sources(self) -> list[RowSource]:
        """Where rows come from, each once."""
        every = (source for line in self.lines for source in line.sources)
        return list({source.identity: source for source in every}.values())


@dataclass(frozen=True)
class Loaded:
    """What became of the tasks."""

    findings: list[Finding]
    whole: bool
    """True if every task is loaded and marked right."""

    part: EvaluationSpec | None
    """The tasks that are loaded and marked right; none if none is."""

    waiting: tuple[str, ...]
    """Tasks whose rows are not downloaded yet."""


def read(spec: EvaluationSpec, settings: Settings, progress: Progress) -> Tasks:
    """Find every task, without loading any."""
    findings: list[Finding] = []
    lines: list[Line] = []
    kind = kind_of(spec)
    for task in spec.tasks:
        try:
            lines.append(kind.line(task, spec, settings=settings, progress=progress))
        except EvaluationError as error:
            findings.append(problem(_TASKS, error))
    if lines:
        theirs = ", ".join(line.spec.name for line in lines if not line.spec.file)
        own = ", ".join(line.spec.name for line in lines if line.spec.file)
        said = [f"lm-eval knows {theirs}"] * bool(theirs) + [f"from files of yours: {own}"] * bool(
            own
        )
        findings.append(ok(_TASKS, "; ".join(said)))
        metrics = sorted({metric for line in lines for metric in line.metrics})
        on_hub = sorted({metric for line in lines for metric in line.hub_metrics})
        findings.append(
            note(_METRICS, f"{', '.join(on_hub)}: loaded from the hub with the tasks")
            if on_hub
            else ok(_METRICS, f"{', '.join(metrics) or 'the tasks’ own'}: their code is here")
        )
    return Tasks(findings, lines)


def ask_for_rows(tasks: Tasks, settings: Settings, pool: Executor) -> Requests:
    """Start to ask for every dataset."""
    return [(source, pool.submit(access.rows, source, settings)) for source in tasks.sources]


def rows(requests: Requests, spec: EvaluationSpec) -> tuple[list[Finding], set[str]]:
    """Return what became of every dataset, and the sources of those that cannot be had.

    Datasets that share a problem share a line: a hub that does not answer is one problem.
    """
    findings: list[Finding] = []
    missing: set[str] = set()
    refusals: dict[str, tuple[list[str], WeightsError]] = {}
    for source, answer in requests:
        dataset = source.dataset
        try:
            found = named(_ROWS, f"{dataset}: ", answer.result())
            # Where others are named, one that is not may have been forgotten.
            if spec.datasets and found.found.endswith(access.NOT_NAMED):
                found = note(_ROWS, found.found)
            findings.append(found)
        except DatasetError as error:  # of a folder here; it names the dataset
            findings.append(problem(_ROWS, error))
            missing.add(source.identity)
        except WeightsError as error:
            refusals.setdefault(str(error), ([], error))[0].append(dataset)
            missing.add(source.identity)
    for names, refusal in refusals.values():
        findings.append(problem(_ROWS, refused(", ".join(names), refusal)))
    read = [source.dataset for source, _ in requests]
    for unused in sorted(spec.datasets.keys() - set(read)) if read else ():
        text = f"{unused}: no task of this run reads it; they read {', '.join(read)}"
        findings.append(note(_ROWS, text))
    return findings, missing


def load(
    tasks: Tasks,
    missing: set[str],
    spec: EvaluationSpec,
    settings: Settings,
    progress: Progress,
    *,
    whole: bool,
) -> Loaded:
    """Load the tasks and check their marking, unless that has been done on the same rows.

    Args:
        tasks: What `read` found.
        missing: Sources of rows that cannot be had; their tasks are left out.
        spec: The tasks and their conditions.
        settings: Where rows and definitions are kept.
        progress: Hears about every step.
        whole: Load tasks whose rows are on a hub too, which downloads them.
    """
    ready: list[TaskSpec] = []
    waiting: list[TaskSpec] = []
    without: list[TaskSpec] = []
    for line in tasks.lines:
        if {source.identity for source in line.sources} & missing:
            without.append(line.spec)
        else:
            (ready if line.here or whole else waiting).append(line.spec)
    kind = kind_of(spec)
    unread = [*waiting, *without]
    faults = kind.faults(unread, spec, settings=settings) if unread else []
    findings = [problem(_TASKS, error) for error in faults]
    if waiting:
        text = f"{', '.join(t.name for t in waiting)}: when its rows are downloaded"
        findings.append(note(_MARKING, text))
    part = spec.model_copy(update={"tasks": tuple(ready)}) if ready else None
    if part:
        findings.append(look(_MARKING, partial(_load, part, settings, progress)))
        part = part if findings[-1].status == "ok" else None
    return Loaded(
        findings,
        whole=part is not None and len(ready) == len(spec.tasks),
        part=part,
        waiting=tuple(task.name for task in waiting),
    )


def _load(spec: EvaluationSpec, settings: Settings, progress: Progress) -> str:
    kind_of(spec).check(spec, settings=settings, progress=progress)
    return f"right answers to {', '.join(task.name for task in spec.tasks)} are marked right"


def _in(text: str, error: AssayError) -> bool:
    """Return whether a refusal of the template stands elsewhere, and nothing can be added to it."""
    return isinstance(error, TemplateError) and error.nothing_helps and error.words in text


def look_at_prompts(
    spec: EvaluationSpec,
    folder: Path,
    window: int | None,
    trusted: bool,
    conversations: Finding | None,
    settings: Settings,
    progress: Progress,
) -> list[Finding]:
    """Return what becomes of the first questions in the hands of a tokenizer.

    A template that takes no conversation at all has its line with the conversations already.

    Args:
        spec: Tasks that are loaded.
        folder: With the tokenizer and the chat template.
        window: Tokens of prompt and answer together; none where it is unknown.
        trusted: Allow a tokenizer that is code of the repository.
        conversations: What became of those that the same tokenizer had to render.
        settings: Where rows are kept.
        progress: Hears about every step.
    """
    said = ""
    if conversations and conversations.status == "problem":
        said, window = f"{conversations.found} {conversations.cause}", None
    try:
        found = kind_of(spec).prompts(
            spec, folder,
            window=window, trust_remote_code=trusted, settings=settings, progress=progress,
        )  # fmt: skip
    except CalibrationError:
        return []  # the tokenizer cannot be loaded; the line of the calibration says so
    findings = [problem(_PROMPTS, error) for error in found.refused if not _in(said, error)]
    if spec.chat_template and not found.refused:
        text = "the model's chat template takes the first questions and shows all of them"
        findings.append(ok(_PROMPTS, text))
    if found.unread:
        findings.append(note(_PROMPTS, found.unread))
    if found.beginning:
        findings.append(ok(_BOS, found.beginning))
    if found.unfit:
        findings.append(problem(_FIT, found.unfit))
    elif found.measured:
        findings.append(ok(_FIT, f"the first questions and their answers fit {window} tokens"))
    return findings
