from __future__ import annotations

from pathlib import Path

import nltk.data
import pytest

from infra.suite.harness.definitions.nltk_data import absent
from tests.published_rows import write_punkt


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which NLTK finds data."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    return tmp_path / "nltk"


def code(folder: Path, text: str) -> list[Path]:
    file = folder / "utils.py"
    file.write_text(text)
    return [file]


def test_what_code_fetches_is_found_wherever_it_stands_in_it(here: Path, tmp_path: Path) -> None:
    text = "import nltk\ndef later():\n if 1:\n  nltk.download('one', quiet=True)\n"
    assert absent(code(tmp_path, text + "nltk.download('two')")) == ["one", "two"]
    assert absent(code(tmp_path, "import os\nos.download('one')  # not of nltk")) == []
    assert absent(code(tmp_path, "import nltk\nnltk.download(")) == []


def test_data_that_are_here_are_not_missed(here: Path, tmp_path: Path) -> None:
    text = "import nltk\nnltk.download('punkt_tab')\nnltk.download('stopwords')"
    (here / "corpora").mkdir(parents=True)
    (here / "corpora" / "stopwords.zip").touch()
    assert absent(code(tmp_path, text)) == ["punkt_tab"]
    write_punkt(here)
    assert absent(code(tmp_path, text)) == []
