from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings

DATA = Path(__file__).parents[4] / "infra" / "sample" / "data"
DATASETS = ("openai/gsm8k", "CohereLabs/Global-MMLU-Lite", "Idavidrein/gpqa")


class Heard:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.updates: list[tuple[str, int, int | None, str]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.updates.append((what, done, total, unit))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tokenizer of bytes and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "<|end|>"])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")
    whole.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    whole.save_pretrained(folder)
    return folder


def evaluation(*tasks: str | TaskSpec, data: Path = DATA, **fields: Any) -> EvaluationSpec:
    """Return a suite's spec over local rows in the shapes of the three datasets."""
    return EvaluationSpec(
        tasks=tuple(TaskSpec(name=t) if isinstance(t, str) else t for t in tasks),
        datasets={name: DatasetSpec(path=str(data / name)) for name in DATASETS},
        **{"concurrency": 8, **fields},
    )


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a copy of the sample rows, some files replaced."""
    import shutil

    def copy(**replaced: str) -> Path:
        folder = tmp_path / "rows"
        for name in DATASETS:
            shutil.copytree(DATA / name, folder / name)
        for path, text in replaced.items():
            (folder / path).write_text(text)
        return folder

    return copy
