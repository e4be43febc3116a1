"""A folder behind an fsspec URL, as a set of objects: each is there whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import inspect
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from infra.contracts.errors import PreflightError
from infra.contracts.records import FileDigest
from infra.store.content import replacing

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_USER = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(://[^\s?]*)\?(?:(?!::)\S)*")
_CHUNK = 8 * 1024 * 1024
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Place:
    """Objects by name; a name's parts are parted by slashes."""

    def __init__(self, url: str) -> None:
        """Open the folder; nothing is written.

        Raises:
            PreflightError: The URL is none, its package is not installed, or its files cannot be
                created by one writer alone.
        """
        # Loaded where it is used: a command that shares nothing does not wait for it.
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self.title = without_credentials(url)
        try:
            # What another machine has written a moment ago has to be seen.
            self._files, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except Exception as error:  # of whichever library
            raise PreflightError(
                f"ASSAY_SHARED={self.title} cannot be opened.",
                cause=without_credentials(str(error)),
                remedy="Take a URL that fsspec knows, and install its package beside Assay's "
                "(s3fs for s3://); a folder that every machine has mounted needs none.",
                nothing_spent=True,
            ) from error
        self._root = root.rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        if not self._local and not _creates_alone(self._files):
            raise PreflightError(
                f"ASSAY_SHARED={self.title} cannot hold locks.",
                cause=f"{type(self._files).__name__} has no way to create a file only where there "
                "is none, so two machines could both believe that they hold one.",
                remedy="Take an object store that can (s3://), or a folder that every machine has "
                "mounted.",
                nothing_spent=True,
            )

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there yet; return False if it is, whoever wrote it."""
        try:
            if self._local:
                self._link(Path(self._path(name)), data)
            else:
                self._files.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write an object; who reads sees the one before or this one."""
        if self._local:
            with replacing(Path(self._path(name))) as partial:
                partial.write_bytes(data)
        else:
            self._files.pipe_file(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """Return an object; None if there is none."""
        try:
            return bytes(self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, in order; none if there is no such folder."""
        try:
            found = self._files.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = {path.rstrip("/").rpartition("/")[2] for path in found}
        return sorted(name for name in names if name and not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove an object, or a folder with all that is in it."""
        with suppress(FileNotFoundError):
            self._files.rm(self._path(name), recursive=True)

    def upload(self, file: Path, name: str) -> FileDigest:
        """Write a file, which may be large; return what was written of it.

        Until it returns there may be a part of it: whoever reads it needs to be told of it after
        that.
        """
        with file.open("rb") as source, self._writing(name) as target:
            size, sha256 = _copied(source, target)
        return FileDigest(name=file.name, size=size, sha256=sha256)

    def download(self, name: str, file: Path) -> str:
        """Bring a file; return the SHA-256 of what came."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._files.open(self._path(name), "rb") as source, file.open("wb") as target:
            return _copied(source, target)[1]

    def require_usable(self) -> str:
        """Write, and create twice, as locks do; return what is there in words.

        Raises:
            PreflightError: It cannot be used.
        """
        name = f"probes/{secrets.token_hex(8)}"
        try:
            alone = self.create(name, b"1") and not self.create(name, b"2")
            alone = alone and self.read(name) == b"1"
            self.remove(name)
        except Exception as error:  # of whichever library
            raise PreflightError(
                f"ASSAY_SHARED={self.title} cannot be used.",
                cause=f"{type(error).__name__}: {without_credentials(str(error)):.300}",
                remedy="Look at its address, and at the credentials that its library reads from "
                "variables or files; or unset ASSAY_SHARED.",
                nothing_spent=True,
            ) from error
        if not alone:
            raise PreflightError(
                f"ASSAY_SHARED={self.title} cannot hold locks.",
                cause="It lets two writers create the same object.",
                remedy="Take a store that knows If-None-Match, or a folder that every machine has "
                "mounted.",
                nothing_spent=True,
            )
        return self.title

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    @contextmanager
    def _writing(self, name: str) -> Iterator[IO[bytes]]:
        if self._local:
            Path(self._path(name)).parent.mkdir(parents=True, exist_ok=True)
        with self._files.open(self._path(name), "wb") as stream:
            yield stream

    @staticmethod
    def _link(path: Path, data: bytes) -> None:
        """Let a file appear whole, where there is none: a link is that also on NFS."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            partial.write_bytes(data)
            os.link(partial, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("xb") as stream:
                stream.write(data)
        finally:
            partial.unlink(missing_ok=True)


@cache
def place(url: str) -> Place:
    """Return the place of a URL, opened once in a process."""
    return Place(url)


def without_credentials(text: str) -> str:
    """Return a URL, or a text in which some stand, for logs.

    A URL of fsspec may be a chain of several: `simplecache::s3://…`.
    """
    return _QUERY.sub(r"\1", _USER.sub("", text))


def _creates_alone(files: AbstractFileSystem) -> bool:
    """Return whether a file system has a way of its own to create what is not there."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    own: Any = type(files).pipe_file
    if isinstance(files, AsyncFileSystem):
        own = type(files)._pipe_file
    general = (AbstractFileSystem.pipe_file, AsyncFileSystem._pipe_file)
    return own not in general and "mode" in inspect.signature(own).parameters


def _copied(source: IO[bytes], target: IO[bytes]) -> tuple[int, str]:
    """Copy, and return size and SHA-256 of what was copied, whatever the file becomes."""
    sha, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        sha.update(chunk)
        target.write(chunk)
        size += len(chunk)
    return size, sha.hexdigest()
