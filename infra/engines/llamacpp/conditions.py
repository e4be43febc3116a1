"""All that decides an arm's answers besides the questions: the key of whatever is kept of it.

As with every engine the real command line and environment count, and not the fields they were made
from. Threads count: their number decides in which order a processor adds up. Slots do not: each
computes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.command import build_command, engine_environment, inherited
from infra.engines.llamacpp.program import SCRIPT, beginning
from infra.engines.named_files import named_files, with_nonces
from infra.engines.port import Setup
from infra.machine.cores import count as count_cores
from infra.machine.deciding import COMPUTING, NOT_COMPUTING, matching
from infra.store.content import code_digest

ROOM = frozenset(["--threads-http", "--ctx-size", "--parallel", "--cache-ram"])
"""Flags of ours whose value makes room: it decides no number, but how fast all are computed. The
window counts by itself."""

_WITHOUT_EFFECT = ROOM | {"--model", "--alias", "--host", "--port", "--verbosity"}
"""And those whose value names the start. The model counts by its digest."""

_DECIDING = ("LLAMA_*", "GGML_*", *COMPUTING)
_NOT_DECIDING = ("LLAMA_API_KEY", "LLAMA_LOG_*", *NOT_COMPUTING)

CODE = (
    *("scoring", "engines/live.py", "engines/forced.py", "engines/llamacpp/server.py"),
    *("engines/llamacpp/serve_gguf.py", "engines/connection.py", "contracts/capability.py"),
)
"""Code that serves, asks, reads what is answered, and says of a server what it can do."""


def conditions(setup: Setup, digest: str, given: Mapping[str, str] | None = None) -> list[object]:
    """Return all that decides what a checkpoint answers, and the code that asks it.

    Args:
        setup: What is served. Its folder may be one of the same configuration.
        digest: Of the checkpoint.
        given: Variables that reach the engine; by default those of this process that would.
    """
    spec, device = setup.serving, setup.device
    given = {**(inherited() if given is None else given), **spec.variables}
    command = build_command(
        python=Path("python"),
        model=setup.checkpoint,
        served_name="",
        port=0,
        spec=spec,
        device=device,
        concurrency=1,
        cores=count_cores(),
        free_memory_bytes=0,
    )
    words = [word for word in command if word not in (*beginning(Path("python")), str(SCRIPT))]
    return [
        {
            "checkpoint": digest,
            "command": deciding_flags(words, spec.extra_args),
            "window": spec.max_model_len,
            "variables": deciding_variables(
                {**given, **engine_environment("assay", given=given)}, spec.variables
            ),
            "named": with_nonces(named(spec, given)),
            "engine": setup.environment.digest,
            "device": [device.kind, device.name, device.cores],
            "code": code_digest(*CODE),
        }
    ]


def named(spec: ServingSpec, given: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return what the files hold that settings and variables name; see `named_files`.

    Args:
        spec: How it is served.
        given: Variables that reach the engine; by default those of this process that would.
    """
    given = {**(inherited() if given is None else given), **spec.variables}
    return named_files(spec.extra_args, deciding_variables(given, spec.variables), given)


def deciding_flags(words: list[str], extra: tuple[str, ...]) -> list[str]:
    """Return flags without what decides no number; the user's own all count."""
    ours = words[: len(words) - len(extra)]
    kept = []
    while ours:
        flag = ours.pop(0)
        if flag in _WITHOUT_EFFECT:
            ours.pop(0)
        else:
            kept.append(flag)
    return [*kept, *extra]


def deciding_variables(given: Mapping[str, str], users: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that may change what the engine computes.

    Args:
        given: Variables with values.
        users: Names of those that the user sets for the engine: whatever they are for.
    """
    return matching(given, (*_DECIDING, *users), _NOT_DECIDING)
