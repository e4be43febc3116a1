"""All that decides an arm's answers besides the questions: the key of whatever is kept of it.

The engine's real command line and environment count, with what Assay itself adds to them, and not
the fields they were made from: a flag that Assay sets in another way one day must not bring back
the answers of the day before. What names or sizes a start, and decides no number, stays out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from infra.contracts.records import Adjustment
from infra.contracts.specs import ServingSpec
from infra.engines.named_files import named_files, with_nonces
from infra.engines.port import Setup
from infra.engines.vllm.command import build_command, engine_environment, inherited
from infra.machine.cores import count as count_cores
from infra.machine.deciding import COMPUTING, NOT_COMPUTING, matching
from infra.store.content import code_digest, digest_of

ROOM = frozenset(["--kv-cache-memory-bytes", "--gpu-memory-utilization", "--max-num-seqs"])
"""Flags of ours whose value makes room: it decides no number, but how fast all are computed."""

_WITHOUT_EFFECT = ROOM | {
    *("--model", "--served-model-name", "--host", "--port", "--max-logprobs", "--lora-modules")
}
"""And those whose value names the start, or allows more. Model and adapter count by their digest.
"""

_DECIDING = ("VLLM_*", *COMPUTING)
"""Variables that reach the engine and may change what it computes, or with what."""

_NOT_DECIDING = (
    *("VLLM_API_KEY", "VLLM_NO_USAGE_STATS", "VLLM_LOGGING_*", "VLLM_CACHE_ROOT"),
    *("VLLM_CONFIG_ROOT", *NOT_COMPUTING),
)
"""Of these, secrets, places, and which of equal devices is taken."""

CODE = (
    *("scoring", "engines/live.py", "engines/vllm/server.py", "engines/connection.py"),
    *("engines/forced.py", "contracts/capability.py"),
)
"""Code that asks, reads what is answered, and says of a server what it can do."""

_MEMORY = "serving.memory_fraction"
"""Makes room, and decides no number."""

_KEY = "assay"
"""Stands for the key of a start, which no two share."""


def conditions(setup: Setup, digest: str, given: Mapping[str, str] | None = None) -> list[object]:
    """Return all that decides what a checkpoint answers, and the code that asks it.

    Args:
        setup: What is served. Its folder may be one of the same configuration.
        digest: Of the checkpoint.
        given: Variables that reach the engine; by default those of this process that would.
    """
    spec, device = setup.serving, setup.device
    given = inherited() if given is None else given
    cores = count_cores()
    command = build_command(
        python=Path("python"),
        model=setup.checkpoint,
        served_name="",
        port=0,
        spec=spec,
        device=device,
        concurrency=None,
        trust_remote_code=setup.trust_remote_code,
        adapter=setup.adapter,
        pooling=setup.pooling,
        free_memory_bytes=0,
        cores=cores,
    )
    given = {**given, **spec.variables}
    variables = {**given, **engine_environment(device, _KEY, cores=cores, given=given)}
    deciding = deciding_variables(variables, spec.variables)
    return [
        {
            "checkpoint": digest,
            "command": deciding_flags(command, spec.extra_args),
            "variables": deciding,
            "named": with_nonces(named(spec, given)),
            "engine": setup.environment.digest,
            "device": [device.kind, device.name, device.cores],
            # The command alone does not identify an engine that may adjust itself: `answers_of`.
            "adjust": spec.adjust,
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


def answers_of(conditions_: Sequence[object], adjustments: Sequence[Adjustment]) -> str:
    """Return the identity of the answers of one server that was started under some conditions.

    Args:
        conditions_: The conditions.
        adjustments: What was changed when it did not come up with its spec: another command line.
    """
    changed = [[one.field, one.after] for one in adjustments if one.field != _MEMORY]
    return digest_of([conditions_, changed])


def deciding_flags(command: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Return a command line without what decides no number; the user's own flags all count."""
    ours = list(command[: len(command) - len(extra)])
    kept = []
    while ours:
        flag = ours.pop(0)
        if flag in _WITHOUT_EFFECT:
            ours.pop(0)
        else:
            kept.append(flag)
    return [*kept, *extra]


def deciding_variables(given: Mapping[str, str], users: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that may change what an engine computes.

    Args:
        given: Variables with values.
        users: Names of those that the user sets for the engine: whatever they are for.
    """
    return matching(given, (*_DECIDING, *users), _NOT_DECIDING)
