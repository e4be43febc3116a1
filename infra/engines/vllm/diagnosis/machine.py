"""Failures that lie in the machine, the engine's environment or its arguments."""

from __future__ import annotations

from infra.engines.diagnosis.patterns import Failure
from infra.engines.vllm.diagnosis.changes import eager

MACHINE = (
    Failure(
        name="port-taken",
        patterns=(r"(?i)address already in use",),
        fact="The port was taken while the server started.",
        cause="Another process began to listen on it in between.",
        remedy="Run again; leave serving.port empty, so that a free one is found.",
        field="serving.port",
    ),
    Failure(
        name="too-few-devices",
        patterns=(
            r"Not enough allowed NUMA nodes to bind threads of (?P<wanted>\d+) local",
            r"World size \((?P<wanted>\d+)\) is larger than the number of available GPUs",
        ),
        fact="The model shall be shared by {wanted} devices, but there are fewer.",
        cause="Each takes a GPU of its own; on processors, a NUMA node.",
        remedy="Lower serving.tensor_parallel_size.",
        field="serving.tensor_parallel_size",
    ),
    Failure(
        name="library-broken",
        patterns=(r"(?:ImportError|ModuleNotFoundError): (?P<what>[^\n()]+[^\n() ])",),
        fact="The engine's own environment is broken: {what}.",
        cause="A package or a shared library is missing, cut off, or of another version.",
        remedy="Delete the environment that the log names, it is built again; or correct "
        "ASSAY_VLLM_PYTHON.",
    ),
    Failure(
        name="compilation-failed",
        patterns=(r"(?P<what>InvalidCxxCompiler|Failed to find C compiler)",),
        fact="The engine could not compile the model for this device: {what}.",
        cause="It needs a C++ compiler for that.",
        remedy="Install gcc and g++, or set serving.enforce_eager.",
        field="serving.enforce_eager",
        adjust=eager,
    ),
    Failure(
        name="too-many-open-files",
        patterns=(r"Error: Too many open files",),
        fact="The engine may not open as many files as it needs.",
        cause="The limit of this shell or service is too low.",
        remedy="Raise it with `ulimit -n 65536` where Assay is started.",
    ),
    Failure(
        name="disk-full",
        patterns=(r"Errno 28\] No space left on device",),
        fact="The disk is full: the engine could not write what it has to.",
        cause="It keeps compiled code and temporary files below the home and TMPDIR.",
        remedy="Free some space, or let TMPDIR and VLLM_CACHE_ROOT name another disk.",
    ),
    Failure(
        name="argument-unknown",
        patterns=(r"error: unrecognized arguments: (?P<what>[^\n]+)",),
        fact="The engine does not know the arguments {what}.",
        cause="serving.extra_args holds a slip, or an argument of another version.",
        remedy="Correct serving.extra_args.",
        field="serving.extra_args",
    ),
    Failure(
        name="argument-invalid",
        patterns=(
            r"error: argument (?P<what>[^\n(]+[^\n( ])",
            r"Error: (?P<what>No common block size for \d+)",
        ),
        fact="The engine refuses an argument: {what}.",
        cause="serving.extra_args gives a value that it cannot use.",
        remedy="Correct serving.extra_args.",
        field="serving.extra_args",
    ),
)
