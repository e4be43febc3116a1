"""The short form: what a person fills in a minute, and the run that comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import Field, ValidationError

from infra.contracts.errors import SpecError
from infra.contracts.specs.arms import ArmSpec, CandidateSpec
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.evaluation import DatasetSpec, EvaluationSpec, TaskSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.probes import FidelitySpec, SpeedSpec
from infra.contracts.specs.quantization import AwqSpec, CompressedSpec, GptqSpec, QuantizationSpec
from infra.contracts.specs.results import ResultsSpec
from infra.contracts.specs.run import RunSpec
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.spec import Spec, refusals, refuse
from infra.contracts.specs.verdict import VerdictSpec

SAMPLE = "sample"
"""Instead of a model: the small one of this repository, with rows and conversations of its own."""

_HUBS: dict[str, Literal["huggingface", "modelscope"]] = {"hf": "huggingface", "ms": "modelscope"}
# The form shows it to whoever wrote something else: a hub's repository, or a folder.
_SOURCE = r"((hf|ms):)?\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?|(~|\.|\.\.)?/[^,]+"
_METHOD = "awq|gptq|w8a8|fp8"

Method: TypeAlias = Literal["awq", "gptq", "w8a8", "fp8"]
TaskName: TypeAlias = Literal[
    "gsm8k", "global_mmlu_en", "gpqa_main_zeroshot", "mmlu", "ceval-valid", "arc_challenge",
    "hellaswag", "winogrande",
]  # fmt: skip
Rows: TypeAlias = Literal["quick", "standard", "full"]

Model = Annotated[str, Field(pattern=rf"^({SAMPLE}|{_SOURCE})$", title="Model")]
Written = Annotated[
    str,
    Field(
        title="Write",
        pattern=rf"^\s*(({_METHOD}|{_SOURCE})\s*(,\s*({_METHOD}|{_SOURCE})\s*)*)?$",
    ),
]
WrittenTasks = Annotated[
    str, Field(title="Write", pattern=r"^\s*[\w.+-]+(/[\w.+-]+)*\s*(,\s*[\w.+-]+(/[\w.+-]+)*\s*)*$")
]
Candidates = Annotated[list[Method], Field(title="Choose")] | Written
Tasks = Annotated[list[TaskName], Field(title="Choose", min_length=1)] | WrittenTasks
Margin = Annotated[float, Field(gt=0, le=50)]
Name = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]*)?$", max_length=64)]


class _Line(NamedTuple):
    """How a task is put, and how many questions of each of its subtasks."""

    num_fewshot: int | None
    quick: int
    standard: int
    max_gen_toks: int | None = None


_LINES = {
    "gsm8k": _Line(5, 50, 400, 1024),
    "global_mmlu_en": _Line(5, 10, 60),
    "gpqa_main_zeroshot": _Line(None, 50, 400),
    "mmlu": _Line(5, 2, 20),
    "ceval-valid": _Line(5, 2, 20),
    "arc_challenge": _Line(25, 50, 400),
    "hellaswag": _Line(10, 50, 400),
    "winogrande": _Line(5, 50, 400),
}
_OTHER = _Line(None, 10, 100)
_SAMPLE_LINES = {
    "gsm8k": _Line(5, 12, 60, 160),
    "global_mmlu_en": _Line(None, 3, 12),
    "gpqa_main_zeroshot": _Line(None, 12, 60),
}
_SAMPLE_FOLDER = "infra/sample"
_SAMPLE_ROWS = ("openai/gsm8k", "CohereLabs/Global-MMLU-Lite", "Idavidrein/gpqa")

_RECIPES: dict[str, Callable[[CalibrationSpec], QuantizationSpec]] = {
    "awq": lambda talks: AwqSpec(calibration=talks),
    "gptq": lambda talks: GptqSpec(calibration=talks),
    "w8a8": lambda talks: CompressedSpec(scheme="w8a8-int8", calibration=talks),
    "fp8": lambda talks: CompressedSpec(scheme="fp8-dynamic"),
}


class QuickSpec(Spec):
    """A run in seven fields, or five. Everything else is as in the recipes."""

    model: Model
    """A repository on ModelScope (`Qwen/Qwen2.5-7B-Instruct`) or Hugging Face
    (`hf:Qwen/Qwen2.5-7B-Instruct`), with a revision after `@`; a folder (`/`, `./` or `~/` before
    it); or `sample`."""

    candidates: Candidates
    """What is held against the model as it is."""

    tasks: Tasks
    """What both are asked."""

    rows: Rows
    """How many rows of each task."""

    margin: Margin
    """Loss over all rows that is still acceptable, percentage points; of a single task twice that.
    Rows too few to show it widen it, which the verdict says."""

    label: Name = ""
    """Name under which runs of a kind are compared. Empty: the model's, with `rows`."""

    notify: Name = ""
    """See `ResultsSpec.notify`."""

    @property
    def run(self) -> RunSpec:
        """The run, with everything that was not asked for."""
        own = self.model == SAMPLE
        talks = _sample_talks() if own else CalibrationSpec(path="calibration.jsonl")
        label = self.label or f"{_slug(self._called)[:55]}-{self.rows}"
        return RunSpec(
            baseline=ArmSpec(
                model=_model(self.model),
                serving=ServingSpec(max_model_len=2048, enforce_eager=True)
                if own
                # A window that the device does not hold is shortened, and the report says so.
                else ServingSpec(adjust=True),
            ),
            candidates=tuple(self._candidates(talks)),
            evaluation=EvaluationSpec(
                tasks=tuple(self._tasks()),
                datasets={
                    name: DatasetSpec(path=f"{_SAMPLE_FOLDER}/data/{name}")
                    for name in (_SAMPLE_ROWS if own else ())
                },
            ),
            fidelity=FidelitySpec(documents=16, max_tokens=256) if own else FidelitySpec(),
            speed=SpeedSpec(input_tokens=(128,), output_tokens=32, concurrencies=(1, 4), requests=8)
            if own
            else SpeedSpec(),
            verdict=VerdictSpec(
                margin_points=self.margin,
                # A task of the sample has so few rows that one of them may be 8 points.
                task_margin_points=max(2 * self.margin, 20) if own else 2 * self.margin,
                flip_rate=0.3 if own else None,
                if_unresolvable="widen",
                gate="none",
            ),
            results=ResultsSpec(label=label, notify=self.notify or None),
        )

    @property
    def _called(self) -> str:
        return PurePath(self.model.partition("@")[0]).name

    def _candidates(self, talks: CalibrationSpec) -> Iterator[CandidateSpec]:
        for one in _each(self.candidates):
            if one in _RECIPES:
                recipe = _RECIPES[one](talks)
                yield CandidateSpec(name=recipe.slug, quantization=recipe)
            else:
                source = _model(one)
                yield CandidateSpec(name=_slug(PurePath(source.id).name)[:40], model=source)

    def _tasks(self) -> Iterator[TaskSpec]:
        lines = _SAMPLE_LINES if self.model == SAMPLE else _LINES
        for name in _each(self.tasks):
            line = lines.get(name, _OTHER)
            limits = {"quick": line.quick, "standard": line.standard, "full": None}
            yield TaskSpec(
                name=name,
                num_fewshot=line.num_fewshot,
                limit=limits[self.rows],
                max_gen_toks=line.max_gen_toks,
            )

    @refuse
    def _sample_has_rows_of_its_own(self) -> Self:
        if self.model != SAMPLE:
            return self
        if missing := [name for name in _each(self.tasks) if name not in _SAMPLE_LINES]:
            raise SpecError(
                f"The sample model has no rows of {', '.join(missing)}.",
                cause=f"It comes with small rows of {', '.join(_SAMPLE_LINES)}.",
                remedy="Choose among these, or name another model.",
            )
        return self


def run_of(**form: Any) -> RunSpec:
    """Return the run that a form asks for.

    Args:
        form: The fields of `QuickSpec`.

    Raises:
        SpecError: It cannot work.
    """
    try:
        return QuickSpec(**form).run
    except ValidationError as error:
        raise next(refusals(error), error) from None


def _each(given: list[Method] | list[TaskName] | str) -> list[str]:
    """Return what was chosen, or written with commas between, each once."""
    parts = given.split(",") if isinstance(given, str) else given
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _model(text: str) -> ModelSpec:
    """Return a model as the form names it."""
    if text == SAMPLE:
        return ModelSpec(source="local", id=f"{_SAMPLE_FOLDER}/model")
    if re.match(r"(~|\.|\.\.)?/", text):
        return ModelSpec(source="local", id=text)
    hub, _, name = text.rpartition(":")
    name, _, revision = name.partition("@")
    return ModelSpec(source=_HUBS.get(hub, "modelscope"), id=name, revision=revision or None)


def _sample_talks() -> CalibrationSpec:
    return CalibrationSpec(
        path=f"{_SAMPLE_FOLDER}/data/calibration.jsonl", max_samples=32, max_sequence_length=256
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"
