"""Files that other programs really wrote; see data/README.md."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
PROGRAMS = ("lm_eval", "inspect", "evalscope", "nemo_evaluator")
FILES = {
    "lm_eval": "samples_sums_written_*.jsonl", "inspect": "*.eval",
    "evalscope": "reviews/mock/*.jsonl", "nemo_evaluator": "sums/*.jsonl",
}  # fmt: skip
"""Program → one file of it, with one task."""


def file_of(arm: str, program: str) -> Path:
    """Return one file that a program wrote of an arm."""
    [found] = (DATA / arm / program).glob(FILES[program])
    return found


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of a file of the baseline that a test may change."""

    def copy(program: str, change: Callable[[list[str]], list[str]] | None = None) -> Path:
        source = file_of("baseline", program)
        target = tmp_path / source.name
        shutil.copy(source, target)
        if change:
            lines = source.read_text(encoding="utf-8").splitlines()
            target.write_text("".join(f"{line}\n" for line in change(lines)), encoding="utf-8")
        return target

    return copy
