from __future__ import annotations

from pathlib import Path

import numpy as np

from infra.engines.embeddings.vectors import VectorFile


def test_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    said: list[str] = []
    texts = [f"text {number} \ud800é" for number in range(1200)]
    vectors = {
        text: np.random.default_rng(number).normal(size=7).astype(np.float32)
        for number, text in enumerate(texts)
    }
    VectorFile(tmp_path / "folder" / "v.sqlite", said.append).keep(vectors)
    again = VectorFile(tmp_path / "folder" / "v.sqlite", said.append)
    found = again.lookup([*texts, "another"])
    assert found.keys() == vectors.keys()
    assert all((found[text] == vectors[text]).all() for text in texts)
    assert again.count() == 1200
    assert said == []


def test_a_file_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "file").write_text("no folder")
    kept = VectorFile(tmp_path / "file" / "v.sqlite", said.append)
    kept.keep({"a": np.ones(3, np.float32)})
    kept.keep({"b": np.zeros(3, np.float32)})
    assert set(kept.lookup(["a", "b", "c"])) == {"a", "b"}
    assert len(said) == 1


def test_a_file_that_is_none_is_embedded_again(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "v.sqlite").write_bytes(b"no database at all" * 100)
    kept = VectorFile(tmp_path / "v.sqlite", said.append)
    assert kept.lookup(["a"]) == {}
    assert "embedded again" in said[0]
