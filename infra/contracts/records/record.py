"""What all records are, and what is in several of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Side = Literal["baseline", "candidate"]
"""Of a comparison."""


class Record(BaseModel):
    """Base of everything that came out: immutable, no unknown field passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileDigest(Record):
    """One file of a folder."""

    name: str
    """Path below the folder, with forward slashes."""

    size: int
    """Bytes."""

    sha256: str
    """Hexadecimal digest of the content."""
