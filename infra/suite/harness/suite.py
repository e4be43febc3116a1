"""The exam that both arms sit: every task loaded, its documents fixed, its marking checked."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import Record, TaskScores
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.engines.endpoint import Endpoint
from infra.store.content import digest_of, write_atomically
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Entry
from infra.suite.harness.keys import code_of, definition_digest, exam_entries, task_key, task_keys
from infra.suite.harness.libraries.quiet import quiet, ticking
from infra.suite.harness.metrics import without_points
from infra.suite.harness.narrowing import Documents
from infra.suite.harness.questions.question import Questions, first_questions
from infra.suite.harness.rows.sources import (
    Rows,
    find_rows,
    place,
    prepared_folder,
    write_definitions,
)


@dataclass(frozen=True)
class AnswerFile:
    """Where the answers of one server are kept, so that a killed run continues where it stopped."""

    path: Path
    identity: str
    """All that decides an answer besides the question: checkpoint, engine, flags."""


@dataclass(frozen=True)
class Part:
    """One entry of the exam, ready to be asked."""

    entry: Entry
    line: TaskSpec
    definition: str
    """Digest of its definitions and the code they name, as they were loaded."""

    loaded: dict[str, Any]
    """What `lm_eval.evaluator.evaluate` takes: `tasks` and `groups` by name."""

    @property
    def tasks(self) -> dict[str, Any]:
        """lm-eval's tasks by name."""
        return self.loaded["tasks"]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Exam:
    """Every task of a spec, loaded and checked."""

    spec: EvaluationSpec
    parts: Mapping[str, Part]
    rows: Mapping[str, Rows]
    keys: Mapping[str, str | None]
    definitions: Path
    """Folder that makes the stock `lm_eval` read the same rows, as `--include_path`."""

    notes: tuple[str, ...]
    """What was not as asked, or could not be checked, for people."""

    questions: tuple[Questions, ...]
    """The first questions of each task, as any model will be asked them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks and groups in the order they are asked; tags are expanded."""
        return tuple(self.parts)

    def key(self, name: str) -> str | None:
        """Return the digest of all that decides the scores besides the model; see `task_keys`."""
        return self.keys[name]

    def evaluate(
        self,
        name: str,
        server: Endpoint,
        tokenizer_path: Path,
        samples: Path,
        progress: Progress,
        answers: AnswerFile | None = None,
        *,
        order: int | None = None,
        only: Documents | None = None,
        trust_remote_code: bool = False,
    ) -> TaskScores:
        """Ask the served model one task or group, as lm-eval does, and mark the answers.

        Must not be called on a thread that runs an event loop: lm-eval starts its own.

        Args:
            name: One of `names`.
            server: The server that answers.
            tokenizer_path: Folder of the checkpoint, for its own tokenizer.
            samples: File that receives one JSON line for each document.
            progress: Hears about finished documents every second.
            answers: Where every answer is kept at once; None keeps none.
            order: Seed of the order in which questions are asked; None asks those that begin alike
                one after the other, which is quickest.
            only: Documents that are asked, in the words they have among all others; None asks all.
            trust_remote_code: Allow a tokenizer that is code of the repository.

        Raises:
            EvaluationError: The server died or refused, or a prompt does not fit its window.
        """
        from infra.suite.harness.evaluate import evaluate

        return evaluate(
            self, name, server, tokenizer_path, samples, progress, answers,
            order=order, only=only, trust_remote_code=trust_remote_code,
        )  # fmt: skip


def prepare(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> Exam:
    """Load every task of the exam and check the marking, without a server.

    Args:
        spec: What is asked.
        settings: Where rows and definitions are kept.
        progress: Hears about every step.

    Raises:
        UnknownTask: lm-eval does not know a name.
        DatasetError: A dataset is missing, gated, empty or of another shape.
        MarkingError: Right answers are not marked right.
        EvaluationError: A task cannot be run here.
    """
    lines = exam_entries(spec, settings, progress)
    entries = {name: entry for name, (entry, _) in lines.items()}
    rows = find_rows(entries.values(), spec, settings=settings, progress=progress)
    read = {one.dataset for one in rows.values()}
    for unused in sorted(spec.datasets.keys() - read):
        progress.say(f"no task of this run reads {unused}; they read {', '.join(sorted(read))}")
    keys = {name: task_key(entry, line, rows, spec) for name, (entry, line) in lines.items()}
    digests = {name: definition_digest(entry, spec) for name, entry in entries.items()}
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
            name: Part(entry, lines[name][1], digests[name], loaded[name])
            for name, entry in entries.items()
        }
        notes = [note for part in parts.values() for note in _configure(part, spec)]
        questions = [
            one for part in parts.values() for one in first_questions(part.tasks, part.line, spec)
        ]
        notes += [
            note for name, part in parts.items() if (note := without_points(name, part.loaded))
        ]
        for number, part in enumerate(parts.values(), 1):
            notes += check_marking(part, spec)
            progress.update("marking checked", number, len(parts), "parts")
    for note in notes:
        progress.say(note)
    counts = {name: count for name, part in parts.items() if (count := _rows_marked(name, part))}
    facts = _Facts(notes=tuple(notes), questions=tuple(questions), rows=counts)
    _loaded_here[spec.model_dump_json()] = facts
    if (kept := _kept(keys, settings)) is not None:
        write_atomically(kept, facts.model_dump_json())
    return Exam(spec, parts, rows, keys, definitions, tuple(notes), tuple(questions))


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
    """Return what an exam is told that was edited while it was loaded."""
    return EvaluationError(
        f"{what} changed while the exam was loaded.",
        cause="Files beside code of your own count; it may have written some itself.",
        remedy="Start the run again when nobody writes there any more. If the code does, let it "
        "write elsewhere, or to a *.log file.",
    )


def is_known_good(spec: EvaluationSpec, settings: Settings, progress: Progress) -> bool:
    """Return whether exactly this exam has been loaded and checked before, on these rows.

    Where nobody can tell whether the rows are still these, it has not.
    """
    kept = _kept(task_keys(spec, settings, progress), settings)
    return kept is not None and kept.is_file()


def known_questions(
    spec: EvaluationSpec, settings: Settings, progress: Progress
) -> list[Questions]:
    """Return the first questions of an exam that has been loaded before."""
    facts = _known(spec, settings, progress)
    return list(facts.questions) if facts else []


def known_rows(
    spec: EvaluationSpec, settings: Settings, progress: Progress
) -> dict[str, int] | None:
    """Return how many rows each task and group of an exam asks that has been loaded before.

    Tasks that have no points, as those whose likelihood alone is measured, have no rows that a
    model gets right or wrong, and are left out. None if the exam has not been loaded.
    """
    facts = _known(spec, settings, progress)
    return facts.rows if facts else None


class _Facts(Record):
    """What is remembered of an exam that is known to be good."""

    notes: tuple[str, ...]
    questions: tuple[Questions, ...]
    rows: dict[str, int]
    """Task or group → documents that are asked; without tasks that have no points."""


_loaded_here: dict[str, _Facts] = {}
"""By the exam's spec: what this process has loaded, also of rows whose content is unknown."""


def _known(spec: EvaluationSpec, settings: Settings, progress: Progress) -> _Facts | None:
    kept = _kept(task_keys(spec, settings, progress), settings)
    if kept is None:
        return _loaded_here.get(spec.model_dump_json())
    try:
        return _Facts.model_validate_json(kept.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _kept(keys: Mapping[str, str | None], settings: Settings) -> Path | None:
    if None in keys.values():
        return None
    return settings.cache / "exams" / digest_of(list(keys.values()))[:32]


def _rows_marked(name: str, part: Part) -> int:
    """Return how many documents of a part are answered, within its limit for each task.

    None of a part that has no points: no margin can be held against it.
    """
    if without_points(name, part.loaded):
        return 0
    return sum(
        min(len(task.eval_docs), part.line.limit or len(task.eval_docs))
        for task in part.tasks.values()
        if task.get_config("output_type") != "loglikelihood_rolling"
    )


def _configure(part: Part, spec: EvaluationSpec) -> list[str]:
    """Set shots and answer length on loaded tasks, as lm-eval's `simple_evaluate` does."""
    notes = []
    for name, task in part.tasks.items():
        own, asked = task.get_config("num_fewshot"), part.line.num_fewshot
        if asked is None or own == 0:
            task.set_config("num_fewshot", own or 0)
        else:
            task.set_config("num_fewshot", asked)
        if asked and own == 0:
            notes.append(f"{name} is defined without worked examples; num_fewshot={asked} is moot")
        if part.line.max_gen_toks and task.get_config("output_type") == "generate_until":
            limits = {**(task.get_config("generation_kwargs") or {})}
            limits.pop("max_tokens", None)
            limits["max_gen_toks"] = part.line.max_gen_toks
            task.set_config("generation_kwargs", limits)
        _require_examples(name, task)
    return notes


def _require_examples(name: str, task: Any) -> None:
    if not (shots := task.get_config("num_fewshot")) or not hasattr(task, "sampler"):
        return
    # lm-eval draws one more where the question itself could be among them.
    needed = shots + (task.fewshot_cfg.split == task.get_config("test_split"))
    if needed > (have := len(task.sampler.df)):
        split = task.fewshot_cfg.split or task.get_config("training_split")
        raise DatasetError(
            f"{name} shall show {shots} worked examples, but has {have} rows to draw them from"
            f"{f' (split {split!r})' if split else ''}.",
            remedy="Lower num_fewshot of the task, or give that split more rows.",
        )
