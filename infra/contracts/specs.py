"""What is asked of a run. Frozen, complete, refused early when it cannot work.

Every field carries its meaning and unit as a docstring: the Prefect form shows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from infra.contracts.engine_flags import chat_only_among, owned_among
from infra.contracts.errors import SpecError

_RECORDED: ContextVar[bool] = ContextVar("recorded", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """Read what was asked of a run that is over, while the block lasts.

    It was allowed then. Refusing it now would make a report unreadable, and mend nothing.
    """
    token = _RECORDED.set(True)
    try:
        yield
    finally:
        _RECORDED.reset(token)


_Spec = TypeVar("_Spec", bound="Spec")


def _refuse(check: Callable[[_Spec], _Spec]) -> Any:
    """Refuse what cannot work when a run is asked for, and not when its record is read."""

    @functools.wraps(check)
    def unless_recorded(spec: _Spec) -> _Spec:
        return spec if _RECORDED.get() else check(spec)

    return model_validator(mode="after")(unless_recorded)


class Spec(BaseModel):
    """Base of everything that is asked: immutable, no unknown field passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelSpec(Spec):
    """A model, by the place its weights come from."""

    id: str = Field(min_length=1, title="Model")
    """Repository id on the hub (`Qwen/Qwen2.5-7B-Instruct`), or a folder for a local model."""

    source: Literal["modelscope", "huggingface", "local"] = "modelscope"
    """Where the weights come from."""

    revision: str | None = None
    """Branch, tag or commit. It is resolved to a commit, which the report records."""

    trust_remote_code: bool = False
    """Run Python code that comes with the repository. Off unless you have read that code."""

    allow_pickle: bool = False
    """Accept `.bin`/`.pt` weights, which can run code when loaded. Off means safetensors only."""

    @_refuse
    def _local_has_no_revision(self) -> Self:
        if self.source == "local" and self.revision is not None:
            raise SpecError(
                f"model.revision={self.revision!r} was given for a local folder.",
                cause="A folder has no revisions; its files' digests identify it.",
                remedy="Leave model.revision empty, or set model.source to the hub.",
            )
        return self


class CalibrationSpec(Spec):
    """Conversations that AWQ watches the model read, to learn which weights matter."""

    path: str = Field(min_length=1, title="Calibration data")
    """File of conversations, or a dataset id on the hub. `{"messages": [{"role": …, "content": …},
    …]}` and the other usual forms, in JSON, JSONL, Parquet, Arrow or CSV."""

    source: Literal["file", "modelscope", "huggingface"] = "file"
    """Whether `path` is a file here or a dataset on a hub."""

    config: str | None = None
    """Dataset configuration, for a dataset on a hub."""

    split: str = "train"
    """Dataset split, for a dataset on a hub."""

    revision: str | None = None
    """Dataset revision, for a dataset on a hub."""

    messages_field: str = "messages"
    """Column that holds the list of chat messages. Left alone, the other usual forms are looked
    for where there is none of this name."""

    max_samples: int = Field(default=128, ge=1, le=4096)
    """At most this many conversations are used, the first usable ones in file order."""

    max_sequence_length: int = Field(default=512, ge=16, le=32768)
    """Tokens. AutoAWQ uses no conversation longer than this; the report counts those it dropped."""

    min_samples: int = Field(default=16, ge=1)
    """Refuse to quantize when fewer usable conversations than this remain. Those that render to the
    same text count once."""

    @_refuse
    def _enough_samples_possible(self) -> Self:
        if self.min_samples > self.max_samples:
            raise SpecError(
                f"calibration.min_samples={self.min_samples} exceeds "
                f"max_samples={self.max_samples}.",
                remedy="Lower min_samples or raise max_samples.",
            )
        return self


class QuantizationSpec(Spec):
    """How the weights are quantized: activation-aware weight quantization (AWQ)."""

    calibration: CalibrationSpec
    """The user's own conversations."""

    method: Literal["awq"] = "awq"
    """Quantization algorithm."""

    bits: int = Field(default=4, ge=2, le=8)
    """Bits a weight. AutoAWQ packs 4 and nothing else."""

    group_size: int = 128
    """Weights that share one scale: 32, 64 or 128; it must divide every layer's input size."""

    zero_point: bool = True
    """Asymmetric quantization. The GEMM layout that vLLM loads needs it."""

    version: Literal["gemm", "gemv", "gemv_fast", "marlin"] = "gemm"
    """Packing of the checkpoint. vLLM loads `gemm` and repacks it for its kernels."""

    @_refuse
    def _servable(self) -> Self:
        if self.bits != 4:
            raise SpecError(
                f"quantization.bits={self.bits} cannot be packed.",
                cause="AutoAWQ writes 4-bit checkpoints only.",
                remedy="Set quantization.bits to 4.",
            )
        if self.group_size not in (32, 64, 128):
            raise SpecError(
                f"quantization.group_size={self.group_size} cannot be served.",
                cause="vLLM's 4-bit kernels know groups of 32, 64 and 128.",
                remedy="Set quantization.group_size to 32, 64 or 128.",
            )
        if self.version != "gemm":
            raise SpecError(
                f"quantization.version={self.version!r} cannot be served.",
                cause="vLLM reads AWQ checkpoints in the GEMM layout only.",
                remedy="Set quantization.version to 'gemm'; vLLM repacks it for its fast kernels.",
            )
        if not self.zero_point:
            raise SpecError(
                "quantization.zero_point=False cannot be packed in the GEMM layout.",
                cause="AutoAWQ's GEMM packing stores zero points.",
                remedy="Set quantization.zero_point to True.",
            )
        return self


class ServingSpec(Spec):
    """How vLLM serves both arms. One setting for both, or the comparison would mean little."""

    device: Literal["auto", "cuda", "cpu"] = "auto"
    """`auto` takes the GPU where an NVIDIA driver answers, the CPU build of vLLM elsewhere."""

    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    """Data type of activations and unquantized weights. `auto` is the checkpoint's."""

    max_model_len: int | None = Field(default=None, ge=64)
    """Tokens of prompt and answer together. Empty: what the model was made for."""

    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """Number of GPUs that share the model."""

    memory_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of device memory the engine may take. Empty: 0.9 on a GPU; on a CPU what the requests
    in flight need, at most 0.3 of the free memory."""

    enforce_eager: bool = False
    """Skip CUDA graphs and compilation: a faster start, slower answers. Always so on a CPU."""

    port: int | None = Field(default=None, ge=1024, le=65535)
    """Port on loopback. Empty: a free one is found, which is what you want on a shared machine."""

    startup_timeout_seconds: int = Field(default=900, ge=10)
    """How long the engine may take from start until it answers."""

    hang_timeout_seconds: int = Field(default=300, ge=10)
    """An engine that computes nothing for so long, though it is asked, counts as hung. It must be
    longer than the longest single step: on a CPU, thousands of prompt tokens at once."""

    max_restarts: int = Field(default=2, ge=0, le=20)
    """How often an engine that dies or hangs during the evaluation is started again. No answer is
    asked twice; an engine that ends twice in the same way, with nothing answered in between, is
    not started a third time."""

    adjust: bool = False
    """Take the safe adjustment by itself where the engine does not fit the device: a shorter
    window, a smaller memory fraction, eager mode. The report says what was changed."""

    extra_args: tuple[str, ...] = ()
    """Further arguments of `vllm serve`, for example `["--max-num-seqs", "64"]`. Flags that Assay
    sets itself are refused, in every spelling."""

    @_refuse
    def _flags_not_owned(self) -> Self:
        if owned := owned_among(self.extra_args):
            raise SpecError(
                f"serving.extra_args sets {', '.join(owned)}.",
                cause="Assay sets these itself, so that both arms are served alike.",
                remedy="; ".join(f"{name}: {instead}" for name, instead in owned.items()) + ".",
            )
        if idle := chat_only_among(self.extra_args):
            raise SpecError(
                f"serving.extra_args sets {', '.join(idle)}.",
                cause="That acts on requests for a chat alone. The evaluation renders each "
                "question itself and sends its tokens to /v1/completions: it would change nothing.",
                remedy="; ".join(f"{name}: {instead}" for name, instead in idle.items()) + ".",
            )
        if self.device == "cpu" and self.tensor_parallel_size > 1:
            raise SpecError(
                f"serving.tensor_parallel_size={self.tensor_parallel_size} with device='cpu'.",
                remedy="Set tensor_parallel_size to 1, or device to 'cuda'.",
            )
        return self


class TaskSpec(Spec):
    """One lm-evaluation-harness task, group or tag."""

    name: str = Field(min_length=1)
    """Its name in lm-eval: `gsm8k`, `global_mmlu_en`, `gpqa_main_zeroshot`, …"""

    num_fewshot: int | None = Field(default=None, ge=0, le=64)
    """Worked examples shown before each question. Empty: the task's own number."""

    limit: int | None = Field(default=None, ge=1)
    """At most this many documents of each (sub)task. Empty: all."""

    max_gen_toks: int | None = Field(default=None, ge=1)
    """Tokens a generated answer may have. Empty: the task's own, or 1024 where it has none."""


class DatasetSpec(Spec):
    """Where the rows of one dataset come from, instead of the place the task names."""

    path: str = Field(min_length=1)
    """Folder with the dataset's own files (local), or its id on the hub."""

    source: Literal["local", "modelscope", "huggingface"] = "local"
    """Where to look for `path`."""

    revision: str | None = None
    """Branch, tag or commit, for a dataset on a hub."""


class TriageSpec(Spec):
    """A look at the quantized model before the long evaluation: is it worth being examined?"""

    enabled: bool = True
    """Stop a checkpoint that is broken. Without it a broken one sits the whole exam."""

    prompts: int = Field(default=32, ge=8, le=256)
    """Conversations of the calibration set that both models continue."""

    min_agreement: float = Field(default=0.7, ge=0, le=1)
    """Share of next tokens, along the base model's own answers, on which the quantized model must
    agree. Sound 4-bit checkpoints reach 0.9 and more; two exchanged layers leave 0.45."""


_TEMPLATE_ARGUMENTS = frozenset(
    ["conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
     "continue_final_message", "tokenize", "sanitize_control_tokens", "padding", "truncation",
     "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask",
     "tokenizer_kwargs"]
)  # fmt: skip
"""Arguments of transformers' `apply_chat_template` that are no variables of the template."""


class EvaluationSpec(Spec):
    """Which exam both arms sit, and under which conditions."""

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

    moment: datetime | Literal["now"] = datetime(2026, 1, 1)
    """What templates that write the date take for now, in calibration and in both arms. A fixed
    one, so that runs of different days ask the same; `now` is the time at which the run starts."""

    fewshot_as_multiturn: bool = False
    """Show the worked examples as earlier turns of the chat. Needs `chat_template`."""

    system_instruction: str | None = None
    """System message before everything else."""

    seed: int = Field(default=1234, ge=0)
    """Draws the worked examples."""

    concurrency: int | None = Field(default=None, ge=1, le=4096)
    """Questions in flight at a time. Empty: found by following the server's own counters."""

    triage: TriageSpec = TriageSpec()
    """The look at the quantized model before its exam."""

    noise_floor: bool = False
    """Let the base model sit the exam a second time, asked in another order: how many rows flip
    with no change of the model at all."""

    @_refuse
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


class FidelitySpec(Spec):
    """How closely the quantized model follows the base model, beyond right and wrong."""

    enabled: bool = True
    """Let both models read the same texts, and compare what they expect next."""

    texts: str | None = None
    """Text file, paragraphs apart by blank lines; or rows with a `text` column, in JSON, JSONL,
    Parquet, Arrow or CSV. Empty: questions of the exam, which AWQ was not calibrated on."""

    documents: int = Field(default=64, ge=4, le=4096)
    """At most this many texts are read."""

    max_tokens: int = Field(default=512, ge=16, le=8192)
    """Tokens of each text that are read."""

    top_k: int = Field(default=20, ge=1, le=100)
    """Likeliest next tokens whose probabilities are compared; all others count as one."""


class SpeedSpec(Spec):
    """What quantization buys: both arms are timed by `vllm bench serve`, one after the other."""

    enabled: bool = True
    """Time both arms. The device should have nothing else to do meanwhile."""

    input_tokens: tuple[int, ...] = Field(default=(128, 2048), min_length=1)
    """Lengths of the prompts."""

    output_tokens: int = Field(default=128, ge=2, le=8192)
    """Tokens of each answer."""

    concurrencies: tuple[int, ...] = Field(default=(1, 16), min_length=1)
    """Requests in flight at a time."""

    requests: int = Field(default=32, ge=2, le=10_000)
    """Requests of each measurement, and at least twice the concurrency."""

    @_refuse
    def _positive(self) -> Self:
        for field in ("input_tokens", "concurrencies"):
            values = getattr(self, field)
            if min(values) < 1 or len(set(values)) < len(values):
                raise SpecError(
                    f"speed.{field}={list(values)} cannot be measured.",
                    remedy="Name different whole numbers from 1 up.",
                )
        return self


class VerdictSpec(Spec):
    """Which loss is acceptable, and how sure one has to be. A test of non-inferiority.

    PASS: the loss over all rows is shown to be smaller than the margin, no task lost more than its
    own, and the base model does better than guessing at each. FAIL: a loss is shown, and not shown
    to be within the margin; or one task is shown to have lost, and more than its margin. Everything
    else is INCONCLUSIVE.
    """

    margin_points: float = Field(default=1.0, gt=0, le=100)
    """Loss over all rows of all tasks that is still acceptable, percentage points."""

    task_margin_points: float = Field(default=3.0, gt=0, le=100)
    """Loss that no single task may exceed, percentage points."""

    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """One minus the chance of a PASS at a true loss of exactly the margin, and of a FAIL without
    any loss."""

    power: float = Field(default=0.8, ge=0.5, lt=1)
    """Chance to find a loss, or the lack of one, that a run is planned for."""

    flip_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of rows expected to be right in one arm alone, for planning. Empty: as in earlier runs
    of the same label, or 0.1 without any."""

    if_unresolvable: Literal["refuse", "widen"] = "refuse"
    """What to do before a run whose rows are too few for the margin: refuse it, or widen the margin
    to what they can resolve, which the verdict then says. What earlier runs lost widens it no
    further than the rate that is assumed without them."""

    gate: bool = True
    """A verdict other than PASS ends the run as failed (`Regressed`, `Inconclusive`), so that
    nothing that waits for it goes on. Without it the verdict is only told."""

    early_stop: bool = False
    """Stop asking the quantized model as soon as the verdict is certain, by a test that may be
    looked at after every row. Loses some power for the time saved. Takes tasks whose rows are right
    or wrong."""

    @_refuse
    def _guard_is_wider(self) -> Self:
        if self.task_margin_points < self.margin_points:
            raise SpecError(
                f"verdict.task_margin_points={self.task_margin_points:g} is below "
                f"margin_points={self.margin_points:g}.",
                cause="One task has fewer rows than all of them together, and needs more room.",
                remedy="Raise task_margin_points or lower margin_points.",
            )
        return self


class ResultsSpec(Spec):
    """A folder, and a name to compare runs of a kind by."""

    folder: str | None = None
    """Folder that receives `<run-id>/` and `history.csv`. Empty: `ASSAY_RUNS`, or `./runs`."""

    label: str = Field(default="adhoc", pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)
    """Name under which runs of a kind are compared over time: lowercase letters, digits, dashes."""


class RunSpec(Spec):
    """One run: everything that decides its outcome."""

    model: ModelSpec
    """Which model is examined."""

    quantization: QuantizationSpec
    """How it is quantized."""

    serving: ServingSpec = ServingSpec()
    """How both arms are served."""

    evaluation: EvaluationSpec
    """Which exam both arms sit."""

    fidelity: FidelitySpec = FidelitySpec()
    """How closely the quantized model is compared beyond right and wrong."""

    speed: SpeedSpec = SpeedSpec()
    """What is timed."""

    verdict: VerdictSpec = VerdictSpec()
    """Which loss is acceptable."""

    results: ResultsSpec = ResultsSpec()
    """Where the results go."""

    def starting(self, moment: datetime) -> Self:
        """Return the run as it starts at a moment: with that for `now`, where it is asked for."""
        if self.evaluation.moment != "now":
            return self
        at = {"moment": moment.replace(tzinfo=None, microsecond=0)}
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update=at)})

    @_refuse
    def _answers_fit(self) -> Self:
        window = self.serving.max_model_len
        for task in self.evaluation.tasks:
            if window and task.max_gen_toks and task.max_gen_toks >= window:
                raise SpecError(
                    f"Task {task.name} may answer with {task.max_gen_toks} tokens, "
                    f"but serving.max_model_len is {window}.",
                    cause="Prompt and answer share the window; no token would be left to ask.",
                    remedy="Lower the task's max_gen_toks or raise serving.max_model_len.",
                )
        return self
