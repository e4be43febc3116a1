"""What a file is kept in, by its first bytes, and its text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, TextIO

_HEAD = 4096
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32",
          b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # fmt: skip
"""Byte order marks, the longer ones first."""


class Kind(Enum):
    """What rows can be read from."""

    TEXT = auto()
    """JSON, CSV or plain text, compressed or not."""
    PARQUET = auto()
    ARROW_FILE = auto()
    ARROW_STREAM = auto()


class Foreign(Exception):
    """A file that is something else."""

    def __init__(self, what: str, *, cause: str = "", remedy: str = "") -> None:
        """Take what it is, as the end of a sentence, and what to do; nothing: get it again."""
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.remedy = remedy


def kind_of(path: Path) -> Kind:
    """Return what a file is kept in.

    Raises:
        Foreign: It is nothing that rows can be read from.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    tables = {
        b"PAR1": Kind.PARQUET,
        b"ARROW1": Kind.ARROW_FILE,
        b"\xff\xff\xff\xff": Kind.ARROW_STREAM,
    }
    for mark, kind in tables.items():
        if head.startswith(mark):
            return kind
    with _opened(path) as (stream, packed):
        head = stream.read(_HEAD)
    if packed and head.startswith(tuple(tables)):
        raise Foreign(
            f"is Parquet or Arrow inside {packed}",
            remedy=f"Unpack it: `{_UNPACK[packed]} -dk {shlex.quote(str(path))}`.",
        )
    _check_text(head, path)
    return Kind.TEXT


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open the text of a file; bytes that cannot be decoded become surrogates.

    Raises:
        OSError: It cannot be read.
    """
    with _opened(path) as (stream, _):
        head = stream.peek(4)[:4]
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
        with io.TextIOWrapper(
            stream, encoding or "utf-8-sig", errors="surrogateescape", newline=newline
        ) as text:
            yield text


_UNPACK = {"gzip": "gzip", "zstd": "zstd", "bzip2": "bzip2", "xz": "xz"}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.BufferedReader, str]]:
    """Open a file, unpacked; also return what it is packed with."""
    with path.open("rb") as raw:
        head = raw.peek(6)[:6]
        packed = next((name for mark, name in _PACKED.items() if head.startswith(mark)), "")
        unpacked: Any = raw
        if packed == "gzip":
            unpacked = gzip.GzipFile(fileobj=raw)
        elif packed == "bzip2":
            unpacked = bz2.BZ2File(raw)
        elif packed == "xz":
            unpacked = lzma.LZMAFile(raw)  # noqa: SIM115 -- closed with what it reads
        elif packed == "zstd":
            import pyarrow

            unpacked = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw), "zstd")
        yield (io.BufferedReader(unpacked) if packed else raw), packed


_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def _check_text(head: bytes, path: Path) -> None:
    """Refuse what is no text, by its name."""
    name = shlex.quote(str(path))
    if head.startswith(b"PK\x03\x04"):
        if b"xl/" in head or path.suffix in {".xlsx", ".xlsm"}:
            raise Foreign("is an Excel workbook", remedy="Save its sheet as CSV there, in UTF-8.")
        raise Foreign("is a ZIP archive", remedy=f"Unpack it: `unzip {name}`.")
    if head[257:262] == b"ustar":
        raise Foreign("is a tar archive", remedy=f"Unpack it: `tar -xf {name}`.")
    if head.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise Foreign("is a page (HTML or XML), not data", cause="A download that had to log in "
                      "or met an error writes one.")  # fmt: skip
    if head.startswith(tuple(_MARKS)):
        return
    if b"\0" in head:
        if head[1:2] == b"\0" or head[:1] == b"\0":
            order = "UTF-16LE" if head[1:2] == b"\0" else "UTF-16BE"
            raise Foreign(
                f"is text in UTF-16 without a mark that says so ({order})",
                remedy=f"Convert it: `iconv -f {order} -t UTF-8 {name} > {_beside(path)}`.",
            )
        raise Foreign("is a binary file that is neither Parquet nor Arrow")


def _beside(path: Path) -> str:
    return shlex.quote(f"{path.stem}.utf8{path.suffix}")
