"""Whether a model's files are still those that its digest was computed of, once they were loaded.

Who serves or quantizes a folder reads it minutes after its digest was computed. Somebody may write
to it in between: then what comes of it must be kept under no digest at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from infra.contracts.errors import CorruptWeights
from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, FileDigest, Weights
from infra.models.file_digests import changed, hash_files, of_another_size
from infra.models.files import is_read_beside
from infra.models.tokenizer_identity import tokenizer_texts
from infra.store.content import Mark, digest_of, mark
from infra.store.settings import Settings


class Unchanged:
    """One folder: made before anybody loads it, asked when that is done."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[FileDigest],
        *,
        what: str,
        tokenizes: bool = True,
        settings: Settings,
        progress: Progress,
    ) -> None:
        """Look at the files before they are loaded.

        Those of a user's folder are held against their digests: read again if they do not have
        their marks. Those in our own store were, when they were fetched or made.

        Args:
            folder: Where they are.
            files: What they were.
            what: The model, for people.
            tokenizes: Whether its tokenizer is loaded from there: files may not come to it either.
            settings: Where digests are remembered.
            progress: Hears of bytes.

        Raises:
            CorruptWeights: A file is not what it was.
        """
        self._folder, self._files, self._what = folder, files, what
        self._tokenizes, self._progress = tokenizes, progress
        store = settings.cache.resolve()
        ours = all((folder / file.name).resolve().is_relative_to(store) for file in files)
        memory = settings.weights / "local" / f"{digest_of(str(folder))}.json"
        try:
            self._refuse(
                of_another_size(folder, files) if ours else
                changed(folder, files, memory, progress)
            )  # fmt: skip
            self._refuse(self._added())
            self._marks = {file.name: self._look(file) for file in files}
        except OSError as error:
            raise self._unreadable(error) from error

    @classmethod
    def of(
        cls, model: Checkpoint | Weights, *, settings: Settings, progress: Progress
    ) -> tuple[Self, ...]:
        """Return all that is served or quantized of a model: its folder, and an adapter's."""
        what = model.model if isinstance(model, Checkpoint) else model.id
        found = [cls(model.path, model.files, what=what, settings=settings, progress=progress)]
        if isinstance(model, Checkpoint) and (adapter := model.applied):
            found.append(
                cls(adapter.path, adapter.files, what=f"adapter {adapter.id}", tokenizes=False,
                    settings=settings, progress=progress)
            )  # fmt: skip
        return tuple(found)

    def require(self) -> None:
        """Refuse what was loaded since, if a file may have been another one then.

        A file with another mark and the same content was touched, and not written.

        Raises:
            CorruptWeights: A file is not what it was.
        """
        try:
            self._refuse(of_another_size(self._folder, self._files) | self._added())
            other = {
                file.name: (file.sha256, seen)
                for file in self._files
                if (seen := self._look(file)) != self._marks[file.name]
            }
            hashed = hash_files(self._folder, [*other], self._progress)
        except OSError as error:
            raise self._unreadable(error) from error
        self._refuse({
            name: "has another content" for name, (sha256, _) in other.items()
            if hashed[name][0] != sha256
        })  # fmt: skip
        self._marks |= {name: seen for name, (_, seen) in other.items()}

    def _added(self) -> dict[str, str]:
        """Return files of the tokenizer that are new: who loads it takes whatever there is.

        Code is loaded where a configuration names it, which would be another one then.
        """
        if not self._tokenizes:
            return {}
        there = filter(is_read_beside, tokenizer_texts(self._folder))
        return dict.fromkeys({*there} - {file.name for file in self._files}, "was added")

    def _look(self, file: FileDigest) -> Mark:
        return mark((self._folder / file.name).stat())

    def _refuse(self, wrong: Mapping[str, str]) -> None:
        if not wrong:
            return
        raise CorruptWeights(
            f"{self._what} changed since its digest was computed: "
            + "; ".join(f"{self._folder / name} {why}" for name, why in wrong.items())
            + ".",
            cause="Somebody writes to this folder, so that nobody knows what was loaded of it.",
            remedy="Wait until that is done, or name a folder that stays as it is, and start the "
            "run again. Nothing is kept of what was loaded.",
        )

    def _unreadable(self, error: OSError) -> CorruptWeights:
        return CorruptWeights(
            f"{error.filename or self._folder} cannot be read: {error.strerror or error}.",
            cause=f"{self._what} was whole when its digest was computed.",
            remedy="Let this user read the folder and all its files, and let nobody write to it "
            "during a run.",
        )
