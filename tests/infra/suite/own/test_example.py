"""An example of each kind is there to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import SpecError
from infra.suite.own import example
from infra.suite.own.definition import load
from infra.suite.own.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_it_is_of_its_kind_and_its_settings_are_read(tmp_path: Path, kind: object) -> None:
    name = kind.name  # type: ignore[attr-defined]
    rows, settings = example.write(name, tmp_path / "new" / "mine.jsonl")
    own = load(rows)
    assert (own.kind, own.settings["metadata"]["version"]) == (kind, 1.0)
    assert kind.meaning in settings.read_text()  # type: ignore[attr-defined]
    assert ("from 0 to 1" in settings.read_text()) == (name != "preference")


def test_nothing_is_overwritten_and_a_wrong_name_is_answered_with_the_right_ones(
    tmp_path: Path,
) -> None:
    example.write("exact", tmp_path / "a.jsonl")
    with pytest.raises(SpecError, match=r"a\.jsonl and .*a\.yaml exist already"):
        example.write("choices", tmp_path / "a.jsonl")
    with pytest.raises(SpecError, match="no kind of rows called 'mcq'"):
        example.write("mcq", tmp_path / "b.jsonl")
    with pytest.raises(SpecError, match=r"b\.jsonl"):
        example.write("exact", tmp_path / "b.csv")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.jsonl", "a.yaml"]
