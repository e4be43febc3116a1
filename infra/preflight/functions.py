"""What reads calls of functions out of each arm's answers, where tasks let models call any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from infra.contracts.capability import Capability
from infra.contracts.specs import BASELINE, ArmSpec, RunSpec
from infra.engines.registry import engine_of
from infra.models.chat_template import writes_functions
from infra.preflight.findings import Finding, look, note
from infra.preflight.lines import Lines
from infra.suite.port import Line

_NAME = "tool parser"


def look_at(
    spec: RunSpec, lines: Sequence[Line], folders: Mapping[str, Path | None]
) -> list[Finding]:
    """Find what reads each arm's calls; nothing where no task has functions.

    Args:
        spec: The run.
        lines: Its tasks.
        folders: Arm → folder of its model; none where it is not here yet.
    """
    need = frozenset([Capability.TOOLS])
    if not any(need in line.needs for line in lines):
        return []
    found = Lines(spec)
    for name, arm in spec.evaluated.items():
        folder = folders[name]
        if not need <= engine_of(arm.serving).can(arm.serving):
            continue  # it cannot answer, which is said
        # A template that shows no functions is refused with the first questions that it writes.
        writes = name == BASELINE or spec.evaluation.tokenizer == "own"
        if folder is None or not writes or writes_functions(folder):
            found.add(
                name,
                look(_NAME, partial(_parser, arm, folder))
                if folder
                else note(_NAME, "it is chosen when the model is downloaded, by its chat template"),
            )
    return found.findings


def _parser(arm: ArmSpec, folder: Path) -> str:
    parser = engine_of(arm.serving).tool_parser(arm.serving, folder)
    return f"{parser.name}: {parser.because}" if parser else "the engine needs none"
