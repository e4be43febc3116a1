"""One entry of a suite: lm-eval's tasks, with the shots and limits of the spec set on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.specs import TaskSpec, ThinkingSpec
from infra.suite.harness.definitions.catalog import Entry
from infra.suite.harness.metrics import without_points
from infra.suite.harness.thinking import set_apart

WRITES = "generate_until"
"""What lm-eval calls a task that lets the model write."""

_OF_THE_DRAW = ("temperature", "top_p", "top_k", "min_p")
"""Settings of a definition whose place is taken by those of the spec, named there or not."""


@dataclass(frozen=True)
class Part:
    """One entry of a suite, loaded."""

    entry: Entry
    line: TaskSpec
    definition: str
    """Digest of its definitions and the code they name, as they were loaded."""

    loaded: dict[str, Any]
    """What `lm_eval.evaluator.evaluate` takes: `tasks` and `groups` by name."""

    coded: bool = False
    """Whether code of the user's own puts or marks its questions."""

    @property
    def tasks(self) -> dict[str, Any]:
        """lm-eval's tasks by name."""
        return self.loaded["tasks"]  # type: ignore[no-any-return]

    @property
    def embeds(self) -> bool:
        """Whether its marks depend on vectors of texts."""
        return any(leaf.embeds for leaf in self.entry.leaves)


def rows_marked(name: str, part: Part) -> int:
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


def configure(part: Part, thinking: ThinkingSpec | None = None) -> list[str]:
    """Set shots and answer length on loaded tasks, as lm-eval's `simple_evaluate` does.

    Args:
        part: Its tasks are changed.
        thinking: Marks around what a model thinks, which its tasks do not mark.

    Returns:
        What is not as the spec has it, for people.
    """
    notes = []
    for name, task in part.tasks.items():
        own, wanted = task.get_config("num_fewshot"), part.line.num_fewshot
        if wanted is None or own == 0:
            task.set_config("num_fewshot", own or 0)
        else:
            task.set_config("num_fewshot", wanted)
        if wanted and own == 0:
            notes.append(f"{name} is defined without worked examples; num_fewshot={wanted} is moot")
        if part.line.max_gen_toks and _generates(task):
            limits = {**(task.get_config("generation_kwargs") or {})}
            limits.pop("max_tokens", None)
            limits["max_gen_toks"] = part.line.max_gen_toks
            task.set_config("generation_kwargs", limits)
        if part.line.sampling:
            if not _generates(task):
                raise undrawn(name, part.line)
            given = {**(task.get_config("generation_kwargs") or {})}
            for setting in _OF_THE_DRAW:
                given.pop(setting, None)
            drawn = {"do_sample": True, **part.line.sampling.settings}
            task.set_config("generation_kwargs", {**given, **drawn})
        # An answer in a way of its own is no text of which a part could be set apart here.
        plain = not (task.get_config("metadata") or {}).get("needs")
        if thinking and plain and _generates(task):
            set_apart(task, thinking)
        _require_examples(name, task)
    return notes


def _generates(task: Any) -> bool:
    return bool(task.get_config("output_type") == WRITES)


def undrawn(name: str, line: TaskSpec) -> EvaluationError:
    """Return what to say of a task that draws nothing, though the spec samples it."""
    among = "" if name == line.name else f", which is one of {line.name},"
    return EvaluationError(
        f"{name}{among} lets the model write nothing, but evaluation.tasks has sampling for "
        f"{line.name}.",
        cause="Choices and whole texts are scored by their probabilities, which no draw changes: "
        "each repeat would be the same.",
        remedy=f"Leave sampling out of {line.name}"
        + (", or name those of its tasks that let the model write, one by one." if among else "."),
    )


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
