"""lm-eval's tasks as a suite: every one loaded, its documents fixed, its marking checked."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec
from infra.engines.embeddings import Embedder
from infra.engines.endpoint import Endpoint
from infra.store.settings import Settings
from infra.suite.harness.keys import code_of, definition_digest, suite_entries, task_key
from infra.suite.harness.libraries.quiet import quiet, ticking
from infra.suite.harness.metrics import declared, first_metric, metric_names, without_points
from infra.suite.harness.part import Part, configure, rows_marked
from infra.suite.harness.questions.question import Questions, first_questions
from infra.suite.harness.remembered import Facts, packages, remember, still_right
from infra.suite.harness.rows.redirecting import place, prepared_folder, write_definitions
from infra.suite.harness.rows.sources import Rows, find_rows
from infra.suite.harness.running.ahead import Ahead
from infra.suite.harness.running.evaluate import evaluate
from infra.suite.metrics import Metric
from infra.suite.port import AnswerFile
from infra.suite.rows import Documents


@dataclass(frozen=True)
class HarnessSuite:
    """Every task of a spec, loaded and checked; see `infra.suite.port.Suite`."""

    spec: EvaluationSpec
    parts: Mapping[str, Part]
    rows: Mapping[str, Rows]
    keys: Mapping[str, str | None]
    definitions: Path
    """Folder that makes the stock `lm_eval` read the same rows, as `--include_path`."""

    notes: tuple[str, ...]
    """What is not as the spec has it, or could not be checked, for people."""

    questions: tuple[Questions, ...]
    """The first questions of each task, as they are put to any model."""

    _ahead: Ahead = field(default_factory=Ahead, init=False, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks and groups in their order; tags are expanded."""
        return tuple(self.parts)

    def key(self, name: str) -> str | None:
        """Return the digest of all that decides the scores besides the model; see `task_keys`."""
        return self.keys[name]

    def metrics(self, name: str) -> dict[str, Metric]:
        """Return what is declared of each metric of a task or group."""
        loaded = self.parts[name].loaded
        return {metric: declared(metric, name, loaded) for metric in metric_names(name, loaded)}

    @property
    def first_metrics(self) -> dict[str, tuple[str, Metric]]:
        """Return the metric that each task or group is judged by; see `first_metric`."""
        return _first_metrics(self.parts)

    def texts(self, seed: int) -> list[Iterator[str]]:
        """Return each task's questions, without worked examples, in an order by chance."""
        tasks = (task for part in self.parts.values() for task in part.tasks.values())
        return [_texts(task, seed) for task in tasks]

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
        """Ask the served model one task or group, as lm-eval does, and mark the answers.

        See `infra.suite.port.Suite`. lm-eval starts an event loop of its own.

        Raises:
            EvaluationError: The server died or refused, or a prompt does not fit its window.
        """
        return evaluate(
            self.parts[name], self.spec, self.rows, server, tokenizer_path, samples, progress,
            answers, order=order, only=only, trust_remote_code=trust_remote_code, embedder=embedder,
            ahead=self._ahead, following=self._may_be_put_ahead(following),
        )  # fmt: skip

    def _may_be_put_ahead(self, name: str | None) -> Part | None:
        """Return a part whose questions are the same wherever and whenever they are put together.

        Code of the user's own may keep a state, or belong to the main thread.
        """
        part = self.parts[name] if name else None
        return None if part is None or part.coded else part


def _first_metrics(parts: Mapping[str, Part]) -> dict[str, tuple[str, Metric]]:
    found = {name: first_metric(name, part.loaded) for name, part in parts.items()}
    return {name: first for name, first in found.items() if first}


def _texts(task: Any, seed: int) -> Iterator[str]:
    documents = list(task.eval_docs)
    random.Random(seed).shuffle(documents)  # noqa: S311 -- not for secrets
    for document in documents:
        question = task.doc_to_text(document)
        if isinstance(question, str):  # some tasks give the number of a choice
            yield question


def prepare(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> HarnessSuite:
    """Load every task of a spec and check the marking, without a server.

    Args:
        spec: The tasks.
        settings: Where rows and definitions are kept.
        progress: Hears about every step.

    Raises:
        UnknownTask: lm-eval does not know a name.
        DatasetError: A dataset is missing, gated, empty or of another shape.
        MarkingError: Right answers are not marked right.
        EvaluationError: A task cannot be run here.
    """
    lines = suite_entries(spec, settings, progress)
    entries = {name: entry for name, (entry, _) in lines.items()}
    rows = find_rows(entries.values(), spec, settings=settings, progress=progress)
    read = {one.dataset for one in rows.values()}
    for unused in sorted(spec.datasets.keys() - read):
        progress.say(f"no task of this run reads {unused}; they read {', '.join(sorted(read))}")
    keys = {name: task_key(entry, line, rows, spec) for name, (entry, line) in lines.items()}
    digests = {name: definition_digest(entry, spec) for name, entry in entries.items()}
    known = still_right(keys, settings)
    definitions = write_definitions(entries.values(), rows, settings)
    progress.say(f"loading {', '.join(entries)}")
    started = time.monotonic()
    with (
        quiet(),
        ticking(progress, "preparing", lambda: (int(time.monotonic() - started), None), "s"),
    ):
        from infra.suite.harness.loading.tasks import load_tasks
        from infra.suite.harness.oracle import check_marking

        code = {name: code_of(entry, spec) for name, entry in entries.items()}
        places = {
            name: {leaf.name: place(leaf, rows, settings) for leaf in entry.leaves}
            for name, entry in entries.items()
        }
        loaded = load_tasks(definitions, entries, progress, code, places)
        again = find_rows(entries.values(), spec, settings=settings, progress=progress)
        _require_unchanged(rows, again, settings)
        for name, entry in entries.items():
            if definition_digest(entry, spec) != digests[name]:
                raise changed_meanwhile(f"The definition of {name}, or code that it names,")
        parts = {
            name: Part(entry, lines[name][1], digests[name], loaded[name], bool(code[name]))
            for name, entry in entries.items()
        }
        notes = [note for part in parts.values() for note in configure(part, spec.thinking)]
        questions = [
            one for part in parts.values() for one in first_questions(part.tasks, part.line, spec)
        ]
        notes += [
            note for name, part in parts.items() if (note := without_points(name, part.loaded))
        ]
        for number, part in enumerate(parts.values(), 1):
            notes += check_marking(part, spec, known=known and not part.coded)
            progress.update("marking checked", number, len(parts), "parts")
    for note in notes:
        progress.say(note)
    counts = {name: count for name, part in parts.items() if (count := rows_marked(name, part))}
    facts = Facts(
        notes=tuple(notes),
        questions=tuple(questions),
        rows=counts,
        first_metrics=_first_metrics(parts),
        packages=packages(),
    )
    remember(facts, spec, keys, settings)
    return HarnessSuite(spec, parts, rows, keys, definitions, facts.notes, facts.questions)


def _require_unchanged(
    before: Mapping[str, Rows], after: Mapping[str, Rows], settings: Settings
) -> None:
    """Refuse rows that were edited while they were read: nobody knows which of them were loaded."""
    for source, rows in before.items():
        if after[source].digest != rows.digest:
            # What was made of them must not be found again under their old digest.
            shutil.rmtree(prepared_folder(rows, settings), ignore_errors=True)
            raise DatasetError(
                f"The rows of {rows.dataset} in {rows.origin} changed while they were loaded.",
                remedy="Start the run again when nobody writes there any more.",
            )


def changed_meanwhile(what: str) -> EvaluationError:
    """Return what to say of a suite that was edited while it was loaded."""
    return EvaluationError(
        f"{what} changed while the tasks were loaded.",
        cause="Files beside code of your own count; it may have written some itself.",
        remedy="Start the run again when nobody writes there any more. If the code does, let it "
        "write elsewhere, or to a *.log file.",
    )
