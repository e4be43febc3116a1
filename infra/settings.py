"""Facts about this machine and this user, from `ASSAY_*` variables. None of it decides a score."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_cache() -> Path:
    return Path.home() / ".cache" / "assay"


class Settings(BaseSettings):
    """Where things are kept and which interpreters to use."""

    model_config = SettingsConfigDict(
        env_prefix="ASSAY_", frozen=True, use_attribute_docstrings=True
    )

    cache: Path = Field(default_factory=_default_cache)
    """`ASSAY_CACHE`: environments, weights, checkpoints, scores. Shared between checkouts."""

    runs: Path = Path("runs")
    """`ASSAY_RUNS`: what runs leave behind, unless the spec names a folder."""

    server_python: Path | None = None
    """`ASSAY_SERVER_PYTHON`: interpreter with vLLM, instead of the environment built here."""

    quantizer_python: Path | None = None
    """`ASSAY_QUANTIZER_PYTHON`: interpreter with AutoAWQ, instead of the environment built here."""

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
