"""Talks to `quantize_awq.py`: JSON there, JSON back, its failures in words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment, Record
from infra.machine.leases import Lease
from infra.machine.processes import clean_environment, describe_exit, run, tail

WORKER = Path(__file__).with_name("quantize_awq.py")
PROTOCOL: Literal[1] = 1
"""Version of request and response, and part of a checkpoint's key.

Raise it, here and in the worker, when the same request would give another result.
"""

_VERSIONS_SECONDS = 60
_TAIL_LINES = 12
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",  # the worker tells progress itself
    # Threads that wait for each other by spinning double the time on a busy processor.
    "OMP_WAIT_POLICY": "passive",
}

_FAILURES: dict[str, tuple[type[QuantizationError], str, str]] = {
    "out-of-memory": (
        QuantizationError,
        "Most likely it ran out of memory.",
        "Lower quantization.calibration.max_samples or max_sequence_length, "
        "or take a machine with more memory.",
    ),
    "package": (
        QuantizationError,
        "The quantizer's environment lacks a package, or its versions do not fit each other.",
        "Unset ASSAY_QUANTIZER_PYTHON, so that Assay builds its own environment.",
    ),
    "architecture": (
        UnsupportedModel,
        "AutoAWQ, or the transformers it runs with, does not know this architecture.",
        "Take a model of another kind.",
    ),
    "group-size": (
        UnsupportedModel,
        "quantization.group_size does not divide the inputs of a layer.",
        "Set quantization.group_size to 64 or 32.",
    ),
    "remote-code": (
        UnsupportedModel,
        "The model needs Python code of its repository.",
        "Read that code; if you trust it, set model.trust_remote_code.",
    ),
    "not-finite": (
        QuantizationError,
        "The model's weights exceed what float16 holds, and AWQ checkpoints are float16.",
        "Take another model.",
    ),
    "disk-full": (
        QuantizationError,
        "The disk of the checkpoints is full.",
        "Free some of it, or point ASSAY_CACHE to a larger one.",
    ),
}
"""Kind of failure that the worker names → error, cause, remedy."""


class Samples(Record):
    """Calibration as the worker gets it."""

    token_ids: list[list[int]]
    max_sequence_length: int
    """Tokens."""


class Recipe(Record):
    """AutoAWQ's own names for the recipe."""

    w_bit: int
    q_group_size: int
    zero_point: bool
    version: str


class Request(Record):
    """What the worker gets."""

    version: Literal[1] = PROTOCOL
    model: Path
    output: Path
    """Existing folder that receives weights and config.json."""

    safetensors: bool
    """Load the model from safetensors; pickles otherwise."""

    trust_remote_code: bool
    quantization: Recipe
    calibration: Samples


class Seen(Record):
    """What AutoAWQ made of the calibration set."""

    blocks: int
    tokens: int


class Response(Record):
    """What the worker answers when all went well."""

    version: Literal[1]
    ok: Literal[True]
    quantization_config: dict[str, Any]
    calibration: Seen
    versions: dict[str, str]
    device: str | None
    """Name of the accelerator; none on a CPU."""

    search_dtype: str
    seconds: float
    peak_memory_bytes: int


def versions(environment: PythonEnvironment) -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the result.

    Raises:
        QuantizationError: The interpreter does not run, or lacks one of them.
    """
    try:
        answer = subprocess.run(
            [environment.python, "-I", WORKER, "versions"],
            capture_output=True, text=True, check=True,
            timeout=_VERSIONS_SECONDS, env=clean_environment(),
        )  # fmt: skip
        found: dict[str, str] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise QuantizationError(
            f"The quantizer's interpreter {environment.python} does not answer.",
            cause=type(error).__name__,
            remedy="Correct ASSAY_QUANTIZER_PYTHON, or remove the environment's folder, "
            "so that it is built again.",
        ) from error
    if missing := sorted({"torch", "transformers", "autoawq"} - found.keys()):
        raise QuantizationError(
            f"The quantizer's interpreter {environment.python} lacks {', '.join(missing)}.",
            remedy="Unset ASSAY_QUANTIZER_PYTHON, so that Assay builds its own environment.",
        )
    return found


def ask(
    request: Request,
    *,
    model: str,
    environment: PythonEnvironment,
    progress: Progress,
    log: Path,
    lease: Lease | None = None,
) -> Response:
    """Run the worker to its end and return its response.

    Args:
        request: What to do. The files of the exchange lie in its output folder meanwhile.
        model: Name of the model, for messages.
        environment: Interpreter that has AutoAWQ.
        progress: Hears what the worker tells, every two seconds.
        log: File for all it prints.
        lease: The accelerator to use.

    Raises:
        UnsupportedModel: AutoAWQ does not know this kind of model.
        QuantizationError: It failed in another way.
    """
    request_file, response_file = (
        request.output / ".request.json",
        request.output / ".response.json",
    )
    request_file.write_text(request.model_dump_json(), encoding="utf-8")

    def on_line(line: str) -> None:
        if _is_event(line):
            event = json.loads(line)
            progress.update(event["phase"], event["done"], event["total"], event["unit"])

    code = run(
        [environment.python, "-I", "-u", WORKER, request_file, response_file],
        log=log,
        env=clean_environment(_ENVIRONMENT),
        on_line=on_line,
        lease=lease,
    )
    text = response_file.read_text(encoding="utf-8") if response_file.is_file() else None
    if code != 0 or text is None:
        raise _failure(model, code, text, log)
    request_file.unlink()
    response_file.unlink()
    return Response.model_validate_json(text)


def _failure(model: str, code: int, text: str | None, log: Path) -> QuantizationError:
    # SIGKILL that nobody of us sent is the kernel's, when memory is short.
    killed = "out-of-memory" if code == 137 else "other"
    answer = json.loads(text) if text else {}
    error = answer.get("error", {"kind": killed, "message": describe_exit(code)})
    lines = [line for line in tail(log, 10 * _TAIL_LINES).split("\n") if not _is_event(line)]
    raises, cause, remedy = _FAILURES.get(
        error["kind"], (QuantizationError, "The log tells.", "It may be a limit of AutoAWQ.")
    )
    return raises(
        f"AutoAWQ failed on {model}: {error['message']}",
        cause="\n".join([f"{cause} The log ends with:", *lines[-_TAIL_LINES:]]),
        remedy=f"{remedy} Whole log: {log}",
    )


def _is_event(line: str) -> bool:
    return line.startswith('{"event"')
