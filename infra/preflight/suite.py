"""The exam: every task known, every row and metric within reach, and loaded where it costs nothing.

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
from infra.suite.harness import prompts
from infra.suite.harness.definitions.catalog import Leaf, catalog
from infra.suite.harness.definitions.files import names_code
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.prepared import check_exam, questions_of
from infra.suite.harness.rows.sources import is_here, refused

_TASKS, _METRICS, _ROWS, _MARKING = "tasks", "metrics", "rows", "marking"
_PROMPTS, _BOS, _FIT = "prompts", "BOS", "fit"

WITH_THE_MODEL = note(
    _PROMPTS,
    "the first questions are put through the tokenizer and chat template when the model is "
    "downloaded, before anything is started with it",
)
"""Instead of `look_at_prompts`, where there is no tokenizer yet."""

Asked = list[tuple[Leaf, Future[Finding | str]]]
"""One task of each source of rows, and what is known of them once their hub has answered."""


@dataclass(frozen=True)
class Tasks:
    """What the lines of the exam read."""

    findings: list[Finding]
    lines: dict[str, tuple[TaskSpec, tuple[Leaf, ...]]]
    """Name in the spec → its line and its tasks; without unknown ones."""

    @property
    def datasets(self) -> dict[str, Leaf]:
        """`Leaf.source` → one task that reads from there."""
        leaves = [leaf for _, below in self.lines.values() for leaf in below]
        return {leaf.source: leaf for leaf in leaves if leaf.source}


@dataclass(frozen=True)
class Loaded:
    """What became of the tasks."""

    findings: list[Finding]
    whole: bool
    """True if every task of the exam is loaded and marked right."""

    part: EvaluationSpec | None
    """The tasks that are loaded and marked right; none if none is."""

    waiting: tuple[str, ...]
    """Tasks whose rows are not downloaded yet."""


def read(spec: EvaluationSpec, settings: Settings, progress: Progress) -> Tasks:
    """Find every task of the exam, without loading any."""
    findings: list[Finding] = []
    lines: dict[str, tuple[TaskSpec, tuple[Leaf, ...]]] = {}
    for task in spec.tasks:
        try:
            names = catalog(spec.include_path, settings=settings, progress=progress)
            entries = names.entries([task.name]).values()
        except EvaluationError as error:
            findings.append(problem(_TASKS, error))
            continue
        lines[task.name] = task, tuple(leaf for entry in entries for leaf in entry.leaves)
    leaves = [leaf for _, below in lines.values() for leaf in below]
    if lines:
        findings.append(ok(_TASKS, f"lm-eval knows {', '.join(lines)}"))
        metrics = sorted({metric for leaf in leaves for metric in leaf.metrics})
        on_hub = sorted({metric for leaf in leaves for metric in leaf.hub_metrics})
        findings.append(
            note(_METRICS, f"{', '.join(on_hub)}: loaded from the hub with the tasks")
            if on_hub
            else ok(_METRICS, f"{', '.join(metrics) or 'the tasks’ own'}: part of lm-eval")
        )
    return Tasks(findings, lines)


def ask_for_rows(tasks: Tasks, spec: EvaluationSpec, settings: Settings, pool: Executor) -> Asked:
    """Start to ask for every dataset."""
    return [
        (leaf, pool.submit(access.rows, leaf, spec.datasets.get(str(leaf.dataset)), settings))
        for leaf in tasks.datasets.values()
    ]


def rows(asked: Asked, spec: EvaluationSpec) -> tuple[list[Finding], set[str]]:
    """Return what became of every dataset, and the sources of those that cannot be had.

    Datasets that share a problem share a line: a hub that does not answer is one problem.
    """
    findings: list[Finding] = []
    missing: set[str] = set()
    refusals: dict[str, tuple[list[str], WeightsError]] = {}
    for leaf, answer in asked:
        dataset = str(leaf.dataset)
        try:
            found = named(_ROWS, f"{dataset}: ", answer.result())
            # Where others are named, one that is not may have been forgotten.
            if spec.datasets and found.found.endswith(access.NOT_NAMED):
                found = note(_ROWS, found.found)
            findings.append(found)
        except DatasetError as error:  # of a folder here; it names the dataset
            findings.append(problem(_ROWS, error))
            missing.add(str(leaf.source))
        except WeightsError as error:
            refusals.setdefault(str(error), ([], error))[0].append(dataset)
            missing.add(str(leaf.source))
    for names, refusal in refusals.values():
        findings.append(problem(_ROWS, refused(", ".join(names), refusal)))
    read = [str(leaf.dataset) for leaf, _ in asked]
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
        spec: What is asked.
        settings: Where rows and definitions are kept.
        progress: Hears about every step.
        whole: Load tasks whose rows are on a hub too, which downloads them.
    """
    given = spec.datasets
    ready: list[TaskSpec] = []
    waiting: list[TaskSpec] = []
    for task, leaves in tasks.lines.values():
        if {leaf.source for leaf in leaves} & missing:
            continue
        local = all(is_here(leaf, given) for leaf in leaves)
        (ready if local or whole else waiting).append(task)
    findings = _code(
        [leaf for task, leaves in tasks.lines.values() if task in waiting for leaf in leaves]
    )
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


def _code(leaves: list[Leaf]) -> list[Finding]:
    """Return what is wrong with the code of tasks whose rows are not here yet."""
    with_code = [leaf for leaf in leaves if leaf.definition and names_code(leaf.definition)]
    if not with_code:
        return []
    with quiet():
        from infra.suite.harness.definitions.code_check import check_all

        wrong = check_all(with_code)
    return [problem(_TASKS, error) for error in wrong]


def _load(spec: EvaluationSpec, settings: Settings, progress: Progress) -> str:
    check_exam(spec, settings=settings, progress=progress)
    return f"right answers to {', '.join(task.name for task in spec.tasks)} are marked right"


def _in(told: str, error: AssayError) -> bool:
    """Return whether a refusal of the template stands elsewhere, and nothing can be added to it."""
    return isinstance(error, TemplateError) and error.nothing_helps and error.words in told


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
    told = ""
    if conversations and conversations.status == "problem":
        told, window = f"{conversations.found} {conversations.cause}", None
    try:
        questions = questions_of(spec, settings=settings, progress=progress)
        found = prompts.look(questions, folder, spec, window=window, trust_remote_code=trusted)
    except CalibrationError:
        return []  # the tokenizer cannot be loaded; the line of the calibration says so
    findings = [problem(_PROMPTS, error) for error in found.refused if not _in(told, error)]
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
