from __future__ import annotations

import re
from pathlib import Path

from infra.housekeeping.kinds import KINDS, entries, links, unknown
from infra.store.settings import Settings
from tests.conftest import ROOT
from tests.infra.housekeeping.made_store import Made


def test_every_folder_that_the_program_keeps_something_in_is_of_a_kind() -> None:
    """Whoever adds one has to say what it is: else it is never freed."""
    tops = {folder.partition("/")[0] for kind in KINDS for folder in kind.folders}
    pattern = re.compile(r"""settings\.cache(?:\.absolute\(\))? / "([\w-]+)\"""")
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "infra").rglob("*.py")]
    named = {name for text in texts for name in pattern.findall(text)}
    assert {"vectors", "suites", "task-index", "readings", "tokenizers"} <= named
    settings = Settings(cache=Path("/cache"))
    named |= {getattr(settings, name).name for name in
              ("environments", "weights", "datasets", "checkpoints", "answers", "scores", "triage")
              }  # fmt: skip
    assert named - tops == set()


def test_folders_of_commits_stand_for_themselves(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry("weights/modelscope/Qwen--Qwen2/abc")
    made.file("weights/modelscope/Qwen--Qwen2/.abc.digests")
    made.file("weights/modelscope/Qwen--Qwen2/refs/main.json")
    made.entry("weights/adapters/huggingface/a--b/def")
    made.entry("weights/views/0123")
    made.entry("readings/0a")
    made.file("readings/texts/0b.json")
    found = {entry.name: entry for entry in entries(made.cache)}
    assert set(found) == {
        "weights/modelscope/Qwen--Qwen2/abc", "weights/adapters/huggingface/a--b/def",
        "weights/views/0123", "readings/0a", "readings/texts/0b.json",
    }  # fmt: skip
    [digests] = found["weights/modelscope/Qwen--Qwen2/abc"].beside
    assert digests.name == ".abc.digests"


def test_the_log_of_a_database_goes_before_it(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for end in ("", "-wal", "-shm"):
        made.file(f"answers/ab.sqlite{end}")
    [entry] = entries(made.cache)
    assert [path.name for path in entry.paths] == [
        "ab.sqlite-wal", "ab.sqlite-shm", "ab.sqlite",
    ]  # fmt: skip


def test_what_was_left_over_is_of_what_it_would_have_become(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry("checkpoints/.abc.partial")
    made.entry("checkpoints/.def.damaged")
    made.entry("scores/.0a.1f2e.gone")
    made.file("benches/.0b.json.4711.partial")
    made.file("answers/0c.sqlite.aside-2")
    made.file("checkpoints/.abc.lock")
    found = {entry.name: entry.whole_name for entry in entries(made.cache) if entry.left_over}
    assert found == {
        "checkpoints/.abc.partial": "checkpoints/abc",
        "checkpoints/.def.damaged": "checkpoints/def",
        "scores/.0a.1f2e.gone": "scores/0a.1f2e.gone",
        "benches/.0b.json.4711.partial": "benches/0b.json",
        "answers/0c.sqlite.aside-2": "answers/0c.sqlite",
    }
    assert len(found) == len(list(entries(made.cache)))


def test_links_are_no_entries_and_what_they_lead_to_is_said(tmp_path: Path) -> None:
    made = Made(tmp_path)
    (tmp_path / "users").mkdir()
    made.entry("environments/server-cpu-1")
    (made.cache / "environments" / "vllm-cpu-1").symlink_to("server-cpu-1")
    (made.cache / "environments" / "mine").symlink_to(tmp_path / "users")
    (made.cache / "weights").symlink_to(tmp_path / "users")
    assert [entry.name for entry in entries(made.cache)] == ["environments/server-cpu-1"]
    assert list(links(made.cache)) == ["environments/server-cpu-1"]


def test_what_is_of_no_kind_is_named(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry("scores/0a")
    made.used(tmp_path / "run")
    (made.cache / "my-notes").mkdir()
    assert [path.name for path in unknown(made.cache)] == ["my-notes"]
