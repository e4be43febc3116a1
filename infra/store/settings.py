"""Facts about this machine and this user, from `ASSAY_*` variables. None of it decides a score."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_cache() -> Path:
    return Path.home() / ".cache" / "assay"


def _default_leases() -> Path:
    # Local, the same for every user, and empty after a boot; not every Linux lets users write.
    folder = Path("/run/lock/assay")
    there = folder if folder.exists() else folder.parent
    return folder if os.access(there, os.W_OK | os.X_OK) else Path("/tmp/assay-leases")  # noqa: S108


_INTERPRETER = re.compile(r"ASSAY_(\w+)_PYTHON")
_FORMER = {"SERVER": "vllm", "QUANTIZER": "awq"}
"""What environments were called when there was one engine and one quantizer."""


def interpreter_variable(program: str) -> str:
    """Return the variable that names an interpreter of the user's own for a program."""
    former = next((name for name, now in _FORMER.items() if now == program), "")
    variable, earlier = f"ASSAY_{program.upper()}_PYTHON", f"ASSAY_{former}_PYTHON"
    return earlier if earlier in os.environ and variable not in os.environ else variable


def _own_interpreters() -> dict[str, Path]:
    found = {
        name[1]: Path(value)
        for variable, value in os.environ.items()
        if value and (name := _INTERPRETER.fullmatch(variable))
    }
    former = {now: found.pop(name) for name, now in _FORMER.items() if name in found}
    return former | {name.lower(): python for name, python in found.items()}


class Settings(BaseSettings):
    """Where things are kept and which interpreters to use."""

    model_config = SettingsConfigDict(
        env_prefix="ASSAY_", frozen=True, use_attribute_docstrings=True
    )

    cache: Path = Field(default_factory=_default_cache)
    """`ASSAY_CACHE`: environments, weights, checkpoints, scores. Shared between checkouts."""

    runs: Path = Path("runs")
    """`ASSAY_RUNS`: what runs leave behind, unless the spec names a folder."""

    shared: str | None = Field(default=None, min_length=1)
    """`ASSAY_SHARED`: where workers on different machines share results, checkpoints, answers and
    history: a URL that fsspec knows (`s3://bucket/assay`), or a folder that all have mounted."""

    shared_lease_seconds: float = Field(default=60, gt=0)
    """`ASSAY_SHARED_LEASE_SECONDS`: after how long without news of it a machine that works on
    something is dead, and another one takes it over. The same on every machine."""

    interpreters: dict[str, Path] = Field(default_factory=_own_interpreters)
    """`ASSAY_VLLM_PYTHON`, `ASSAY_AWQ_PYTHON` and so on, one a program: interpreter that has it,
    instead of the environment built here."""

    leases: Path = Field(default_factory=_default_leases)
    """`ASSAY_LEASES`: who holds which accelerator of this machine. One folder for all its users
    and containers, on a local disk."""

    accelerators: str | None = None
    """`ASSAY_ACCELERATORS`: the accelerators that runs may take (`0,1`, as nvidia-smi numbers
    them); all that CUDA_VISIBLE_DEVICES shows if not given. On a processor as many engines run at
    a time as there are names. `none`: runs hold none, and may disturb each other."""

    slot_wait_seconds: float | None = Field(default=None, ge=0)
    """`ASSAY_SLOT_WAIT_SECONDS`: how long a run waits for accelerators that others hold; as long
    as it takes if not given."""

    outlive_worker: bool = False
    """`ASSAY_OUTLIVE_WORKER`: a run goes on when the worker that carries it out is killed. Nobody
    can cancel it then, and no other run gets its accelerators before its end."""

    @property
    def environments(self) -> Path:
        """Folder of the built environments."""
        return self.cache / "environments"

    @property
    def weights(self) -> Path:
        """Folder of the downloaded weights."""
        return self.cache / "weights"

    @property
    def datasets(self) -> Path:
        """Folder of the downloaded datasets."""
        return self.cache / "datasets"

    @property
    def checkpoints(self) -> Path:
        """Folder of the quantized checkpoints."""
        return self.cache / "checkpoints"

    @property
    def answers(self) -> Path:
        """Folder of the single answers, one file for each checkpoint under its conditions."""
        return self.cache / "answers"

    @property
    def scores(self) -> Path:
        """Folder of the scores."""
        return self.cache / "scores"

    @property
    def triage(self) -> Path:
        """Folder of baselines' answers to triage, and of what triage found."""
        return self.cache / "triage"
