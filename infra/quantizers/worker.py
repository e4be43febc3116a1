"""Talks to the scripts that make checkpoints: JSON there, JSON back, their failures in words."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment, Record
from infra.machine.leases import Lease
from infra.machine.processes import clean_environment, describe_exit, run, tail
from infra.store.settings import interpreter_variable

PROTOCOL: Literal[1] = 1
"""Version of request and response, and part of a checkpoint's key.

Raise it, here and in `program/exchange.py`, when the same request would give another result.
"""

_VERSIONS_SECONDS = 60
_TAIL_LINES = 12
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",  # workers tell progress themselves
    # Threads that wait for each other by spinning double the time on a busy processor.
    "OMP_WAIT_POLICY": "passive",
}


class Failure(NamedTuple):
    """What there is to say of one kind of failure."""

    error: type[QuantizationError]
    cause: str
    remedy: str


_FAILURES: dict[str, Failure] = {
    "out-of-memory": Failure(
        QuantizationError,
        "Most likely it ran out of memory.",
        "Take a machine with more memory.",
    ),
    "remote-code": Failure(
        UnsupportedModel,
        "The model needs Python code of its repository.",
        "Read that code; if you trust it, set model.trust_remote_code.",
    ),
    "disk-full": Failure(
        QuantizationError,
        "The disk of the checkpoints is full.",
        "Free some of it, or point ASSAY_CACHE to a larger one.",
    ),
}
"""Kind of failure that any worker may name → what there is to say."""

_DISK_FULL = "No space left on device"
_FEWER_CONVERSATIONS = (
    "Lower quantization.calibration.max_samples or max_sequence_length, or take a machine with "
    "more memory."
)
"""Remedy for a lack of memory where conversations take some of it."""


class Samples(Record):
    """Calibration as the worker gets it."""

    token_ids: list[list[int]]
    max_sequence_length: int
    """Tokens."""


class Request(Record):
    """What the worker gets."""

    version: Literal[1] = PROTOCOL
    model: Path
    output: Path
    """Existing folder that receives weights and config.json."""

    safetensors: bool
    """Load the model from safetensors; pickles otherwise."""

    trust_remote_code: bool
    quantization: dict[str, Any]
    """The recipe in the worker's own words."""

    calibration: Samples | None
    """None for methods that need no conversations."""


class Seen(Record):
    """What the worker made of the calibration set."""

    blocks: int
    tokens: int


class Response(Record):
    """What the worker answers when all went well."""

    version: Literal[1]
    ok: Literal[True]
    quantization_config: dict[str, Any] | None
    """For config.json; none where the files of the format say it themselves."""

    calibration: Seen | None
    versions: dict[str, str]
    device: str | None
    """Name of the accelerator; none on a CPU."""

    search_dtype: str
    seconds: float
    peak_memory_bytes: int
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else it found, in its own words: layers that it left, bits of one weight."""


@dataclass(frozen=True)
class Worker:
    """A script that makes checkpoints in an environment of its own.

    It imports nothing of ours but what stands in `program`.
    """

    script: Path
    title: str
    """What people call the program."""

    program: str
    """Its environment, as `infra/environments` calls it."""

    packages: frozenset[str]
    """Packages that decide the result: an interpreter without one of them will not do."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    """Kinds of failure of its own."""

    @property
    def own_environment(self) -> str:
        """What mends an interpreter that does not fit."""
        variable = interpreter_variable(self.program)
        return f"Unset {variable}, so that Assay builds its own environment."

    def versions(self, environment: PythonEnvironment) -> dict[str, str]:
        """Return the versions of Python and of the packages that decide the result.

        Raises:
            QuantizationError: The interpreter does not run, or lacks one of them.
        """
        try:
            answer = subprocess.run(
                [environment.python, "-I", self.script, "versions"],
                capture_output=True, text=True, check=True,
                timeout=_VERSIONS_SECONDS, env=clean_environment(),
            )  # fmt: skip
            found: dict[str, str] = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise QuantizationError(
                f"The quantizer's interpreter {environment.python} does not answer.",
                cause=type(error).__name__,
                remedy=f"Correct {interpreter_variable(self.program)}, or remove the "
                "environment's folder, so that it is built again.",
            ) from error
        if missing := sorted(self.packages - found.keys()):
            raise QuantizationError(
                f"The quantizer's interpreter {environment.python} lacks {', '.join(missing)}.",
                remedy=self.own_environment,
            )
        return found

    def ask(
        self,
        request: Request,
        *,
        model: str,
        environment: PythonEnvironment,
        progress: Progress,
        log: Path,
        lease: Lease | None = None,
    ) -> Response:
        """Run the script to its end and return its response.

        Args:
            request: What to do. The files of the exchange lie in its output folder meanwhile.
            model: Name of the model, for messages.
            environment: Interpreter that has the program.
            progress: Hears what the script says, every two seconds.
            log: File for all it prints.
            lease: The accelerator to use.

        Raises:
            UnsupportedModel: The program does not know this kind of model.
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
            [environment.python, "-I", "-u", self.script, request_file, response_file],
            log=log,
            env=clean_environment(_ENVIRONMENT),
            on_line=on_line,
            lease=lease,
        )
        text = response_file.read_text(encoding="utf-8") if response_file.is_file() else None
        if code != 0 or text is None:
            calibrated = request.calibration is not None
            raise self._failure(model, code, text, log, calibrated=calibrated)
        request_file.unlink()
        response_file.unlink()
        return Response.model_validate_json(text)

    def _failure(
        self, model: str, code: int, text: str | None, log: Path, *, calibrated: bool
    ) -> QuantizationError:
        lines = [line for line in tail(log, 10 * _TAIL_LINES).split("\n") if not _is_event(line)]
        kind = "other"
        if code == 137:
            kind = "out-of-memory"  # SIGKILL that nobody of us sent is the kernel's
        elif any(_DISK_FULL in line for line in lines):
            kind = "disk-full"  # there was no room for the answer either
        answer = json.loads(text) if text else {}
        error = answer.get("error", {"kind": kind, "message": describe_exit(code)})
        lacking = Failure(
            QuantizationError,
            "The quantizer's environment lacks a package, or its versions do not fit each other.",
            self.own_environment,
        )
        other = Failure(QuantizationError, "The log tells.", f"It may be a limit of {self.title}.")
        known = {**_FAILURES, "package": lacking, **self.failures}
        raises, cause, remedy = known.get(error["kind"], other)
        if calibrated and error["kind"] == "out-of-memory":
            remedy = _FEWER_CONVERSATIONS
        return raises(
            f"{self.title} failed on {model}: {error['message']}",
            cause="\n".join([f"{cause} The log ends with:", *lines[-_TAIL_LINES:]]),
            remedy=f"{remedy} Whole log: {log}",
        )


def _is_event(line: str) -> bool:
    return line.startswith('{"event"')
