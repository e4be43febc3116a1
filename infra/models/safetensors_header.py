"""What a safetensors file says about itself: its header, read by everybody who needs it.

Layout (https://huggingface.co/docs/safetensors): 8 bytes N, little-endian; N bytes of JSON,
name → {dtype, shape, data_offsets: [begin, end]}; the data, in this order and without holes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import CorruptWeights
from infra.models import lfs

_MOST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library itself."""

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip
"""Of one number of the types whose width is certain."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file."""

    dtype: str
    """As safetensors spells it: `F16`, `BF16`, `I32`, …"""

    shape: tuple[int, ...]
    begin: int
    """Byte of the file at which its data begins."""

    size: int
    """Bytes."""


def read(path: Path) -> dict[str, Entry]:
    """Return the tensors of a file by name, in the order of their data.

    Raises:
        CorruptWeights: The file is cut off, overwritten, or no safetensors file.
    """
    lfs.check(path, CorruptWeights)
    real = path.stat().st_size
    with path.open("rb") as stream:
        begin = stream.read(8)
        length = int.from_bytes(begin, "little") if len(begin) == 8 else 0
        if real < 10 or length > _MOST_HEADER_BYTES:
            text = begin + stream.read(32)
            _broken(path, f"is no safetensors file ({real} bytes)", _text(text))
        header = stream.read(length)
    if len(header) < length:
        _truncated(path, 8 + length, real, at_least=True)
    try:
        found = json.loads(header)
        found.pop("__metadata__", None)
        entries = {name: _entry(fields, 8 + length) for name, fields in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        _broken(path, "has an unreadable header")
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].size)))
    end = 8 + length
    for name, entry in entries.items():
        if entry.begin != end:
            _broken(path, f"has a header that places {name} wrongly")
        end += entry.size
    if real != end:
        _truncated(path, end, real)
    return entries


def _entry(fields: dict[str, Any], start: int) -> Entry:
    """Return one tensor; raise ValueError if its numbers do not fit together."""
    begin, end = fields["data_offsets"]
    shape = tuple(fields["shape"])
    bits = BITS.get(fields["dtype"])
    if not all(isinstance(number, int) and number >= 0 for number in (begin, end, *shape)):
        raise ValueError(begin, end, shape)
    if end < begin or (bits and math.prod(shape) * bits != 8 * (end - begin)):
        raise ValueError(begin, end, shape)
    return Entry(str(fields["dtype"]), shape, start + begin, end - begin)


def _text(content: bytes) -> str:
    """Say what stands at the beginning of a file, if that can be read."""
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        return ""
    return (
        f"It begins with {text[:32]!r}: a page or a message in place of the file." if text else ""
    )


def _truncated(path: Path, expected: int, real: int, *, at_least: bool = False) -> NoReturn:
    raise CorruptWeights(
        f"{path} should have {'at least ' if at_least else ''}{expected} bytes "
        f"by its own header, but it has {real}.",
        cause="A copy or a download was cut off." if real < expected else "It was overwritten.",
        remedy="Copy or download the file again.",
    )


def _broken(path: Path, fact: str, cause: str = "") -> NoReturn:
    raise CorruptWeights(
        f"{path} {fact}.",
        cause=cause,
        remedy="Copy or download the file again.",
    )
