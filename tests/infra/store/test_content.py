from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.store.content import (
    build_once,
    code_digest,
    digest_file,
    digest_files,
    digest_folder,
    digest_of,
    replacing,
    write_atomically,
    written_ns,
)


def test_digest_ignores_key_order_and_sees_values() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_folder_digest_sees_content_and_names_but_not_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("one")
    before = digest_files(digest_folder(tmp_path))
    (tmp_path / ".lock").write_text("hidden")
    assert digest_files(digest_folder(tmp_path)) == before
    (tmp_path / "sub" / "a.txt").rename(tmp_path / "sub" / "b.txt")
    assert digest_files(digest_folder(tmp_path)) != before
    (tmp_path / "sub" / "b.txt").write_text("two")
    assert [file.name for file in digest_folder(tmp_path)] == ["sub/b.txt"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(partial: Path) -> None:
        (partial / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        build_once(tmp_path / "it", build)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_kept_partial_is_resumed(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def build(partial: Path) -> None:
        seen.append(sorted(path.name for path in partial.iterdir()))
        (partial / f"file{len(seen)}").write_text("x")
        if len(seen) == 1:
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        build_once(tmp_path / "it", build, keep_partial=True)
    assert not (tmp_path / "it").exists()
    assert build_once(tmp_path / "it", build, keep_partial=True)
    assert seen == [[], ["file1"]]
    assert not build_once(tmp_path / "it", build)


_BUILDER = """
import sys, time
from pathlib import Path
from infra.store.content import build_once
def build(partial):
    (partial / "begun").write_text("x")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (partial / "done").write_text("x")
print("built" if build_once(Path(sys.argv[1]), build) else "found", flush=True)
"""


def _builder(target: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _BUILDER, str(target), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_build_once(tmp_path: Path) -> None:
    pair = [_builder(tmp_path / "it", 1.0) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].split()[-1] for process in pair)
    assert said == ["built", "found"]


def test_a_killed_builder_blocks_nobody_and_leaves_no_whole_looking_folder(tmp_path: Path) -> None:
    victim = _builder(tmp_path / "it", 600)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "building\n"
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not (tmp_path / "it").exists()
    said, _ = _builder(tmp_path / "it", 0).communicate(timeout=60)
    assert said.split()[-1] == "built"
    assert (tmp_path / "it" / "done").exists()


def test_what_killed_builders_left_goes_with_the_next_build_whatever_that_is_of(
    tmp_path: Path,
) -> None:
    victim, other = (_builder(tmp_path / name, 600) for name in ("large", "being-built"))
    for builder in (victim, other):
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    written = tmp_path / ".file.json.1.partial"
    written.touch()
    assert (tmp_path / ".large.partial").is_dir()

    def fail(partial: Path) -> None:
        raise OSError("no download")

    with pytest.raises(OSError, match="no download"):
        build_once(tmp_path / "resumable", fail, keep_partial=True)
    assert (tmp_path / ".large.partial").is_dir()  # others there may be resumed as well

    assert build_once(tmp_path / "small", lambda partial: None)
    assert not (tmp_path / ".large.partial").exists()
    assert (tmp_path / ".being-built.partial" / "begun").exists()
    assert written.exists()
    other.kill()
    other.communicate()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.json"
    write_atomically(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(target, "new \ud800")
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["file.json"]


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    def read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    file = tmp_path / "large"
    file.write_bytes(b"a" * 16_000_000)
    time.sleep(2.1)
    first, before = digest_file(file), read()
    assert digest_file(file) == first
    assert read() - before < 1_000_000
    stat = file.stat()
    file.write_bytes(b"b" * 16_000_000)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest_file(file).sha256 == hashlib.sha256(b"b" * 16_000_000).hexdigest()


_DIGESTS = """
import sys
from pathlib import Path
from infra.store.content import code_digest
if "edit" in sys.argv:
    part = Path("infra", "store", "run_folder.py")
    part.write_text(part.read_text() + "# edited\\n")
print(code_digest("store"), code_digest("contracts"))
"""


def test_code_that_was_edited_under_a_running_process_is_nobodys(tmp_path: Path) -> None:
    infra = Path(__file__).parents[3] / "infra"
    for part in ("store", "contracts"):
        shutil.copytree(infra / part, tmp_path / "infra" / part)
    shutil.copy(infra / "__init__.py", tmp_path / "infra")

    def digests(*arguments: str) -> list[str]:
        time.sleep(0.2)  # as little as between a checkout and the run that follows it
        return subprocess.run(
            [sys.executable, "-c", _DIGESTS, *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip

    before, running, after = digests(), digests("edit"), digests()
    assert len({before[0], running[0], after[0]}) == 3
    assert before[1] == running[1] == after[1]
    assert digests() == after


def test_a_part_without_code_is_no_part() -> None:
    with pytest.raises(FileNotFoundError):
        code_digest("sample/data")
    with pytest.raises(FileNotFoundError):
        code_digest("no/such/part")


def test_two_writers_of_a_file_do_not_write_to_the_same_partial_one(tmp_path: Path) -> None:
    """As in two containers with one disk, whose processes have the same number."""
    file = tmp_path / "file.json"
    with replacing(file) as first:
        first.write_text("first")
        with replacing(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_gone_was_never_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert written_ns(file) == 0
    file.write_text("x")
    os.utime(file, ns=(5, 7))
    assert written_ns(file) == 7
