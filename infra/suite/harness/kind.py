"""lm-eval's tasks as one kind of tasks among others; see `infra.suite.port.TaskKind`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from infra.contracts.capability import Capability, Need
from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Leaf, catalog_of
from infra.suite.harness.definitions.dependencies import names_code
from infra.suite.harness.keys import suite_entries, task_keys
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.part import WRITES, undrawn
from infra.suite.harness.prepared import check_suite, prepared, questions_of
from infra.suite.harness.questions.prompts import look
from infra.suite.harness.remembered import remembered
from infra.suite.harness.rows.sources import is_here, row_source
from infra.suite.harness.suite import HarnessSuite, changed_meanwhile
from infra.suite.metrics import Metric
from infra.suite.port import Line, PromptCheck

_ALWAYS: tuple[Need, ...] = (
    frozenset([Capability.COMPLETIONS]),
    frozenset([Capability.TOKEN_PROMPTS]),
)
_CHOICES: Need = frozenset(
    [Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS, Capability.FORCED_LOGPROBS]
)
"""The scoring client reads chosen tokens where it can, has prompts echoed elsewhere, and forces
one token after the other where a server has nothing better."""

_TEXTS: Need = frozenset([Capability.ECHO_LOGPROBS])
"""A whole text is scored by its echo: forcing its tokens would take a request for each of them."""

_ROLLING = "loglikelihood_rolling"


class HarnessTasks:
    """The tasks, groups and tags of lm-eval, and definitions of the user's own."""

    def line(
        self, task: TaskSpec, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> Line:
        """Return what a line of the spec stands for, without loading it.

        Raises:
            UnknownTask: lm-eval does not know the name.
            EvaluationError: It cannot run here.
        """
        leaves = _leaves(task, spec, settings, progress)
        if task.sampling:
            for leaf in leaves:
                if leaf.output_type not in (None, WRITES):
                    raise undrawn(leaf.name, task)
        embeds = any(leaf.embeds for leaf in leaves)
        if embeds and spec.embedding is None:
            raise EvaluationError(
                f"The marks of {task.name} depend on vectors of texts, and nothing makes any.",
                remedy="Set evaluation.embedding.model to an embedding model, or "
                "evaluation.embedding.endpoint to a URL that embeds.",
            )
        sources = [row_source(leaf, spec.datasets) for leaf in leaves if leaf.source]
        return Line(
            spec=task,
            tasks=tuple(leaf.name for leaf in leaves),
            sources=tuple({one.identity: one for one in sources}.values()),
            here=all(is_here(leaf, spec.datasets) for leaf in leaves),
            metrics=tuple(dict.fromkeys(name for leaf in leaves for name in leaf.metrics)),
            hub_metrics=tuple(dict.fromkeys(name for leaf in leaves for name in leaf.hub_metrics)),
            needs=_needs(leaves),
            embeds=embeds,
        )

    def faults(
        self, tasks: Collection[TaskSpec], spec: EvaluationSpec, *, settings: Settings
    ) -> Sequence[EvaluationError]:
        """Return what is wrong with the code of tasks, before their rows are downloaded."""
        leaves = [leaf for task in tasks for leaf in _leaves(task, spec, settings, Silent())]
        coded = [leaf for leaf in leaves if leaf.definition and names_code(leaf.definition)]
        if not coded:
            return []
        with quiet():
            from infra.suite.harness.definitions.code_check import check_all

            return check_all(coded)

    def keys(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress | None = None
    ) -> dict[str, str | None]:
        """Return the digest of all that decides each task's scores besides the model.

        Raises:
            UnknownTask: lm-eval does not know a name.
            DatasetError: The rows of a dataset cannot be had.
        """
        return task_keys(spec, settings, progress)

    def embedded(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress | None = None
    ) -> frozenset[str]:
        """Return the tasks of a spec whose marks depend on vectors of texts.

        Raises:
            UnknownTask: lm-eval does not know a name.
        """
        lines = suite_entries(spec, settings, progress)
        return frozenset(
            name for name, (entry, _) in lines.items() if any(leaf.embeds for leaf in entry.leaves)
        )

    def prepare(
        self,
        spec: EvaluationSpec,
        *,
        settings: Settings,
        progress: Progress,
        keys: Mapping[str, str | None] | None = None,
    ) -> HarnessSuite:
        """Load every task and check its marking, unless this process has done that already.

        Raises:
            EvaluationError: A task cannot be run here, or its keys are no longer these.
        """
        suite = prepared(spec, settings=settings, progress=progress)
        if keys is not None and suite.keys != keys:
            raise changed_meanwhile("The definitions, their code or the rows of a task")
        return suite

    def check(self, spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> None:
        """Load every task and check its marking, unless that was ever done for the same keys.

        Raises:
            EvaluationError: A task cannot be run here.
        """
        check_suite(spec, settings=settings, progress=progress)

    def row_counts(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, int] | None:
        """Return how many rows of each task a margin can be held against; none if not loaded."""
        facts = remembered(spec, settings, progress)
        return facts.rows if facts else None

    def repeats(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, int]:
        """Return how often each question is asked of tasks whose answers are drawn by chance."""
        lines = suite_entries(spec, settings, progress)
        return {name: line.sampling.repeats for name, (_, line) in lines.items() if line.sampling}

    def first_metrics(
        self, spec: EvaluationSpec, *, settings: Settings, progress: Progress
    ) -> dict[str, tuple[str, Metric]] | None:
        """Return the metric that each task or group is judged by; none if not loaded.

        Loads the tasks where an earlier version remembered them without.
        """
        facts = remembered(spec, settings, progress)
        if facts is None or facts.first_metrics:
            return facts.first_metrics if facts else None
        return prepared(spec, settings=settings, progress=progress).first_metrics

    def prompts(
        self,
        spec: EvaluationSpec,
        folder: Path,
        *,
        window: int | None,
        trust_remote_code: bool,
        settings: Settings,
        progress: Progress,
    ) -> PromptCheck:
        """Put the first questions through a model's own tokenizer and template, and measure them.

        Imports no lm-eval if the tasks have been loaded before.

        Raises:
            CalibrationError: The tokenizer cannot be loaded.
        """
        questions = questions_of(spec, settings=settings, progress=progress)
        return look(questions, folder, spec, window=window, trust_remote_code=trust_remote_code)


def _leaves(
    task: TaskSpec, spec: EvaluationSpec, settings: Settings, progress: Progress
) -> list[Leaf]:
    names = catalog_of(spec, settings=settings, progress=progress)
    return [leaf for entry in names.entries([task.name]).values() for leaf in entry.leaves]


def _needs(leaves: Iterable[Leaf]) -> tuple[Need, ...]:
    """Return what a server has to be able to do; all of it where code decides the questions.

    A row with functions is put as a chat, and no prompt of it is written here.
    """
    leaves = list(leaves)
    named = tuple(frozenset([Capability(one)]) for leaf in leaves for one in leaf.needs)
    if leaves and all(Capability.TOOLS.value in leaf.needs for leaf in leaves):
        return tuple(dict.fromkeys(named))
    kinds = {leaf.output_type for leaf in leaves}
    unclear = kinds - {"generate_until", "loglikelihood", "multiple_choice", _ROLLING}
    choices = (_CHOICES,) if kinds - {"generate_until", _ROLLING} else ()
    texts = (_TEXTS,) if unclear or _ROLLING in kinds else ()
    return (*_ALWAYS, *choices, *texts, *dict.fromkeys(named))
