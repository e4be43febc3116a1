"""How a checkpoint is quantized, read from its own files, whoever made it with whatever.

statement   where it is said, and whether it is said in two ways
fields      values read as far as they make sense
formats     what each method's words mean, one module each
gguf_header what the header of a GGUF file says
made_with   the program that quantized it
"""

from __future__ import annotations

from pathlib import Path

from infra.contracts.records import Quantization
from infra.models.place import Read, in_folder
from infra.models.quantization import gguf_header, statement
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats import name_of, read_anything, reader_of
from infra.models.quantization.made_with import made_with
from infra.models.quantization.statement import Statement

__all__ = ["in_files", "of", "stated"]


def of(folder: Path) -> Quantization | None:
    """Return how the checkpoint in a folder is quantized; none if its files say nothing of it."""
    found = stated(folder)
    return _understood(found) if found else None


def stated(folder: Path) -> Statement | None:
    """Return what the files in a folder say of its quantization; none if nothing."""
    return statement.find(in_folder(folder).read) or gguf_header.find(folder)


def in_files(read: Read) -> Quantization | None:
    """Return how a checkpoint is quantized; none if its files say nothing of it.

    Nothing is refused: what is not understood is in the record, as sentences.

    Args:
        read: Reads a file of the checkpoint by its name, wherever it lies.
    """
    found = statement.find(read)
    return _understood(found) if found else None


def _understood(found: Statement) -> Quantization:
    fields = Fields(found.values, found.doubts)
    method = name_of(fields)
    reader = reader_of(method)
    said = (reader or read_anything)(fields)
    if reader is None:
        fields.doubt(f"the method {method!r} is unknown")
    return Quantization(
        method=method,
        understood=reader is not None,
        format=said.format,
        schemes=said.schemes,
        ignored=said.ignored,
        kv_cache=said.kv_cache,
        rotated=said.rotated,
        bits_per_weight=said.bits_per_weight,
        made_with=made_with(fields, method),
        files=tuple(found.files),
        doubts=tuple(dict.fromkeys(found.doubts)),
    )
