"""Which tasks the arms are evaluated on, and under which conditions."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, JsonValue

from infra.contracts.errors import SpecError
from infra.contracts.specs.embedding import EmbeddingSpec
from infra.contracts.specs.probes import TriageSpec
from infra.contracts.specs.spec import Spec, refuse


class SamplingSpec(Spec):
    """How written answers are drawn by chance, and how often each question is asked.

    Each time has a seed of its own, the same in all arms. The engine's sampling settings are what
    stands here alone: those of the task's definition are left out.
    """

    repeats: int = Field(default=1, ge=1, le=256)
    """How often each question is asked. A task's `limit` counts questions, not repeats."""

    temperature: float | None = Field(default=None, gt=0, le=5)
    """Of the draw; 1 is what the model itself expects. Without it the likeliest token is always
    taken."""

    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw among the likeliest tokens that hold this probability together. Empty: among all."""

    top_k: int | None = Field(default=None, ge=1)
    """Draw among so many of the likeliest tokens. Empty: among all."""

    min_p: float | None = Field(default=None, ge=0, le=1)
    """Draw among tokens at least this probable, as a share of the likeliest one's probability.
    Empty: among all."""

    @refuse
    def _draws(self) -> Self:
        if self.temperature is None:
            times = f"repeats={self.repeats}" if self.repeats > 1 else "sampling"
            raise SpecError(
                f"evaluation.tasks sets {times} without a temperature.",
                cause="Without one the likeliest token is always taken: each time the same answer.",
                remedy="Set sampling.temperature, 0.7 for instance, or leave sampling out.",
            )
        return self

    @property
    def settings(self) -> dict[str, float | int]:
        """Return what is sent to an engine."""
        return self.model_dump(exclude={"repeats"}, exclude_none=True)


class TaskSpec(Spec):
    """One lm-evaluation-harness task, group or tag, or a file of rows of your own."""

    name: str = Field(min_length=1)
    """Its name in lm-eval: `gsm8k`, `global_mmlu_en`, `gpqa_main_zeroshot`, …; or what the task of
    your own file is called."""

    file: str | None = Field(default=None, min_length=1)
    """Rows of your own: a .jsonl, .csv or .parquet file, whose columns say how answers are marked.
    `python -m deployments init-task` writes an example of each kind."""

    num_fewshot: int | None = Field(default=None, ge=0, le=64)
    """Worked examples shown before each question. Empty: the task's own number."""

    limit: int | None = Field(default=None, ge=1)
    """At most this many documents of each (sub)task. Empty: all."""

    max_gen_toks: int | None = Field(default=None, ge=1)
    """Tokens a generated answer may have. Empty: the task's own, or 1024 where it has none."""

    sampling: SamplingSpec | None = None
    """Draw written answers by chance, several a question where wanted. Empty: as the task has it,
    which mostly takes the likeliest token each time."""

    @refuse
    def _its_own_name_is_one(self) -> Self:
        # Files are called by it in an alphabet of few letters, and their names have an end.
        long = len(quote(self.name)) > _LONGEST_NAME
        if self.file and (long or not _NAME.fullmatch(self.name)):
            raise SpecError(
                f"{self.name!r:.120} is no name for a task of your own.",
                cause="Files of the run are called by it.",
                remedy="Write a shorter one."
                if long
                else "Write letters, digits, spaces and `_.+@-`, beginning with a letter or digit; "
                "a slash may part them.",
            )
        return self


_NAME = re.compile(r"[^\W_][\w .+@-]*(?:/[^\W_][\w .+@-]*)*")
_LONGEST_NAME = 200


class DatasetSpec(Spec):
    """Where the rows of one dataset come from, instead of the place the task names."""

    path: str = Field(min_length=1)
    """Folder with the dataset's own files (local), or its id on the hub."""

    source: Literal["local", "modelscope", "huggingface"] = "local"
    """Where to look for `path`."""

    revision: str | None = None
    """Branch, tag or commit, for a dataset on a hub."""


_TEMPLATE_ARGUMENTS = frozenset(
    ["conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
     "continue_final_message", "tokenize", "sanitize_control_tokens", "padding", "truncation",
     "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask",
     "tokenizer_kwargs"]
)  # fmt: skip
"""Arguments of transformers' `apply_chat_template` that are no variables of the template."""


class ThinkingSpec(Spec):
    """Marks around what a model thinks before it answers."""

    begin: str = Field(default="<think>", min_length=1)
    """What opens a thought; a chat template may write it at the end of a prompt."""

    end: str = Field(default="</think>", min_length=1)
    """What closes it: the answer stands behind it."""


class EvaluationSpec(Spec):
    """Which tasks all arms are evaluated on, and under which conditions."""

    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    """The tasks, in the order they are run."""

    include_path: str | None = None
    """Folder with task definitions of your own, as lm-eval's `--include_path`: YAML files, and the
    Python files they name with `!function`. They are code, and are run."""

    datasets: dict[str, DatasetSpec] = Field(default_factory=dict)
    """Dataset id that a task names → where its rows really are. Others come from Hugging Face."""

    add_bos_token: bool | None = None
    """Begin each prompt with the tokenizer's BOS. Empty: as lm-eval's Hugging Face backend, which
    leaves it to the tokenizer. A prompt that has one, as a chat template may write it, gets no
    second."""

    chat_template: bool = False
    """Put each question to the model as a chat turn, in the model's own template."""

    chat_template_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    """Further variables of the chat template, for every prompt and for the calibration
    conversations: `{"enable_thinking": false}`."""

    thinking: ThinkingSpec | None = None
    """Of models that think before they answer: what is thought is not marked, and an answer that
    ends within a thought holds none, which is counted. Give such tasks room: `max_gen_toks`."""

    moment: datetime | Literal["now"] = datetime(2026, 1, 1)
    """What templates that write the date take for now, in calibration and in all arms. A fixed
    one, so that runs of different days ask the same; `now` is the time at which the run starts."""

    fewshot_as_multiturn: bool = False
    """Show the worked examples as earlier turns of the chat. Needs `chat_template`."""

    system_instruction: str | None = None
    """System message before everything else."""

    seed: int = Field(default=1234, ge=0)
    """Draws the worked examples."""

    concurrency: int | None = Field(default=None, ge=1, le=4096)
    """Questions in flight at a time. Empty: found by following the server's own counters."""

    embedding: EmbeddingSpec | None = None
    """What turns texts into vectors, for tasks that need some; all arms share it."""

    triage: TriageSpec = TriageSpec()
    """The look at a candidate before its tasks."""

    noise_floor: bool = False
    """Ask the baseline everything a second time, in another order: how many rows flip with no
    change at all."""

    tokenizer: Literal["own", "baseline"] = "own"
    """Whose tokenizer and chat template write a candidate's prompts: its own, as it would be
    deployed, or the baseline's. Where prompts differ, rows are compared by question, and the report
    says how many."""

    @refuse
    def _consistent(self) -> Self:
        names = [task.name for task in self.tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(
                f"evaluation.tasks names {', '.join(twice)} twice.",
                remedy="Name each task once.",
            )
        if self.fewshot_as_multiturn and not self.chat_template:
            raise SpecError(
                "evaluation.fewshot_as_multiturn needs chat_template.",
                cause="Without a chat template there are no turns.",
                remedy="Set evaluation.chat_template to True, or fewshot_as_multiturn to False.",
            )
        if taken := sorted(self.chat_template_kwargs.keys() & _TEMPLATE_ARGUMENTS):
            raise SpecError(
                f"evaluation.chat_template_kwargs sets {', '.join(taken)}.",
                cause="Assay and transformers fill these themselves.",
                remedy="Leave them out; name variables that the chat template reads.",
            )
        return self
