"""How an arm is served."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field

from infra.contracts import llamacpp_flags, vllm_flags
from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse

_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(_|$)", re.IGNORECASE)

_VLLM_ALONE = (
    "tensor_parallel_size",
    "memory_fraction",
    "enforce_eager",
    "adjust",
    "yarn_factor",
    "tool_parser",
)

OF_ONE_ENGINE = (*_VLLM_ALONE, "extra_args", "variables", "python")
"""Fields that mean nothing, or something else, on another engine."""


class ServingSpec(Spec):
    """How an engine serves an arm. A candidate has the baseline's settings but for its changes."""

    engine: Literal["vllm", "llamacpp"] = "vllm"
    """What serves it: `vllm` checkpoints in the Transformers layout, `llamacpp` GGUF files. A
    candidate on another engine than the baseline's has that engine's defaults, not the baseline's
    settings, where these are of one engine alone."""

    device: Literal["auto", "cuda", "cpu"] = "auto"
    """`auto` takes the GPU where an NVIDIA driver answers, the engine's CPU build elsewhere. For
    llama.cpp it is the CPU: the one that Assay installs computes there alone."""

    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    """Data type of activations and unquantized weights. `auto` is the checkpoint's, but bfloat16
    instead of float16 on a processor that has no instructions for float16. For llama.cpp that of
    the key-value cache: `auto` is float16, and `float32` does without flash attention
    besides, which rounds to 16 bits."""

    max_model_len: int | None = Field(default=None, ge=64)
    """Tokens of prompt and answer together. Empty: what the model was made for."""

    yarn_factor: float | None = Field(default=None, gt=1, le=64)
    """Stretch the positions by so much (YaRN), for a window beyond what the model was made for:
    Qwen2.5 is made for 32,768 tokens, and reads 131,072 with 4. Short prompts are stretched too.
    Needs `max_model_len`."""

    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """Number of GPUs that share the model."""

    memory_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of device memory the engine may take. Empty: 0.9 on a GPU; on a CPU what the requests
    in flight need, at most 0.3 of the free memory."""

    enforce_eager: bool = False
    """Skip CUDA graphs and compilation: a faster start, slower answers. Always so on a CPU."""

    tool_parser: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")
    """What reads calls of functions out of the model's answers, as vLLM's `--tool-call-parser`
    names it: `hermes`, `llama3_json`, `mistral`, … Empty: the one that the chat template tells.
    Only tasks with functions need it."""

    port: int | None = Field(default=None, ge=1024, le=65535)
    """Port on loopback. Empty: a free one is found, which is what you want on a shared machine."""

    startup_timeout_seconds: int = Field(default=900, ge=10)
    """How long the engine may take from start until it answers."""

    hang_timeout_seconds: int = Field(default=300, ge=10)
    """An engine that computes nothing for so long, though requests wait, counts as hung. It must be
    longer than the longest single step: on a CPU, thousands of prompt tokens at once."""

    max_restarts: int = Field(default=2, ge=0, le=20)
    """How often an engine that dies or hangs during the evaluation is started again. No answer is
    computed twice; an engine that ends twice in the same way, with nothing answered in between, is
    not started a third time."""

    adjust: bool = False
    """Take the safe adjustment by itself where the engine does not fit the device: a shorter
    window, a smaller memory fraction, eager mode. The report says what was changed."""

    extra_args: tuple[str, ...] = ()
    """Further arguments of the engine's own command, for example `["--max-num-seqs", "64"]`.
    Flags that Assay sets itself are refused, in every spelling."""

    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine: `{"VLLM_ATTENTION_BACKEND": "FLASHINFER"}`. They
    stand in the report, so a secret does not belong here."""

    python: str | None = None
    """Interpreter that has another version of the engine, or for llama.cpp a program whose name
    begins with `llama-server`. Empty: an environment that Assay builds."""

    @property
    def computes_on(self) -> Literal["auto", "cuda", "cpu"]:
        """What to compute on, with what `auto` means for this engine."""
        return "cpu" if self.engine == "llamacpp" and self.device == "auto" else self.device

    @refuse
    def _no_secret_variables(self) -> Self:
        if secret := sorted(name for name in self.variables if _SECRET.search(name)):
            raise SpecError(
                f"serving.variables sets {', '.join(secret)}.",
                cause="By its name that is a secret, and these variables stand in the report.",
                remedy="Export it in the shell that starts the run or the worker instead.",
            )
        return self

    @refuse
    def _flags_not_owned(self) -> Self:
        flags = llamacpp_flags if self.engine == "llamacpp" else vllm_flags
        if owned := flags.owned_among(self.extra_args):
            raise SpecError(
                f"serving.extra_args sets {', '.join(owned)}.",
                cause="Assay sets these itself, so that all arms are served alike.",
                remedy="; ".join(f"{name}: {instead}" for name, instead in owned.items()) + ".",
            )
        if idle := flags.chat_only_among(self.extra_args):
            raise SpecError(
                f"serving.extra_args sets {', '.join(idle)}.",
                cause="That acts on requests for a chat alone. The evaluation renders each "
                "question itself and sends its tokens to /v1/completions: it would change nothing.",
                remedy="; ".join(f"{name}: {instead}" for name, instead in idle.items()) + ".",
            )
        return self

    @refuse
    def _shared_between_gpus_alone(self) -> Self:
        if self.device == "cpu" and self.tensor_parallel_size > 1:
            raise SpecError(
                f"serving.tensor_parallel_size={self.tensor_parallel_size} with device='cpu'.",
                remedy="Set serving.tensor_parallel_size to 1, or serving.device to 'cuda'.",
            )
        return self

    @refuse
    def _stretched_to_a_window(self) -> Self:
        if self.yarn_factor and self.max_model_len is None:
            raise SpecError(
                f"serving.yarn_factor={self.yarn_factor:g} without max_model_len.",
                cause="It is for a window that the model does not have by itself.",
                remedy="Set serving.max_model_len to the window that is wanted.",
            )
        return self

    @refuse
    def _settings_of_this_engine(self) -> Self:
        if self.engine == "vllm":
            return self
        fields = type(self).model_fields
        if idle := [name for name in _VLLM_ALONE if getattr(self, name) != fields[name].default]:
            raise SpecError(
                f"serving.{idle[0]} is set for llama.cpp.",
                cause="It is a setting of vLLM: on llama.cpp it would change nothing.",
                remedy=f"Leave serving.{idle[0]} out, or set serving.engine to 'vllm'.",
            )
        if named := llamacpp_flags.flags_as_variables(self.variables):
            raise SpecError(
                f"serving.variables sets {', '.join(named)}.",
                cause="llama-server takes such variables for flags, behind the ones it is given.",
                remedy="Use serving.extra_args.",
            )
        return self
