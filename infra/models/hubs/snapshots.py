"""Snapshots of repositories: content-addressed folders that are whole and verified, or not there.

<root>/<source>/<owner>--<name>/<commit>/             the files, `.manifest.json` and `.card.md`
<root>/<source>/<owner>--<name>/.<commit>.partial/    an unfinished download, resumed next time
<root>/<source>/<owner>--<name>/.<commit>.digests     digests of its files while they are unchanged
<root>/<source>/<owner>--<name>/refs/<revision>.json  which commit a branch was last seen at
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal

from filelock import FileLock

from infra.contracts.errors import AssayError, WeightsError
from infra.contracts.progress import Progress
from infra.contracts.records import FileDigest, Record
from infra.machine.ticker import Ticker
from infra.models.file_digests import Remembered, changed, hash_files, tell_bytes
from infra.models.hubs.hub import Hub, Listing, RemoteFile, Repository, connect, raise_corrupt
from infra.models.hubs.revisions import Resolved, ask, remember, resolve
from infra.store.content import build_once, write_atomically
from infra.store.usage import used

CARD = ".card.md"
"""What the repository says of itself: no part of the model, and not there if it did not come."""

_MANIFEST = ".manifest.json"
_README, _MOST_CARD_BYTES, _CARD_SECONDS = "README.md", 1_000_000, 10.0
_LIST_SECONDS = 30.0
_LIST_ATTEMPTS = 3

Choose = Callable[[Sequence[str], Path | None], Sequence[str]]
"""Picks the wanted names from those of a repository; raises if they will not do.

Its second argument is the folder in which the files that are not late can be read; none while they
are not here. Then it picks all that may be wanted.
"""


class Snapshot(Record):
    """What a downloaded folder holds; lies in it as `.manifest.json`."""

    schema_version: Literal[1] = 1
    source: Literal["modelscope", "huggingface"]
    kind: Literal["model", "dataset"]
    id: str
    revision: str
    """Commit."""

    files: tuple[FileDigest, ...]
    left_out: tuple[str, ...]
    """Files of the repository that were not wanted."""


def fetch_snapshot(
    repository: Repository,
    revision: str | None,
    root: Path,
    *,
    choose: Choose,
    late: Callable[[str], bool] = lambda name: False,
    check: Callable[[Path, Sequence[str]], object] = lambda folder, names: None,
    progress: Progress,
) -> tuple[Path, Snapshot]:
    """Return a folder with the chosen files of one commit, downloaded if need be.

    Each file has the size and the digest that the hub lists. The folder appears by one rename
    after the last check; what is downloaded until then is kept for the next attempt. One that is
    here is read again where a file was written since; what changed is downloaded anew.

    Args:
        repository: Model or dataset.
        revision: Branch, tag or commit; the hub's default branch if none.
        root: Folder of all snapshots.
        choose: Picks the wanted files.
        late: Names whose download waits until the others have passed the check.
        check: Looks at a folder and the names that are there so far, before the folder appears.
        progress: Hears of bytes once a second.

    Returns:
        The folder, and its manifest reduced to the chosen files.

    Raises:
        HubUnreachable: No answer, or the connection was lost and did not come back.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: The hub refuses this user.
        CorruptWeights: A file is not what the hub lists. It is removed.
        WeightsError: The disk is full or not writable.
    """
    what = resolve(
        repository,
        revision,
        root,
        timeout=_LIST_SECONDS,
        attempts=_LIST_ATTEMPTS,
        progress=progress,
    )
    used(what.folder)
    try:
        snapshot = _whole(what.folder, progress)
        have = {file.name for file in snapshot.files} if snapshot else set()
        if snapshot is None or not have.issuperset(_chosen(choose, snapshot, what.folder)):
            _Download(repository, what, choose, late, check, progress).run()
            snapshot = _read(what.folder)
        remember(what)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or what.folder} cannot be written: {error.strerror or error}.",
            remedy="Make room there, or set ASSAY_CACHE to a folder that you may write to.",
        ) from error
    wanted = _chosen(choose, snapshot, what.folder)
    files = tuple(file for file in snapshot.files if file.name in wanted)
    return what.folder, snapshot.model_copy(update={"files": files})


def _chosen(choose: Choose, snapshot: Snapshot, folder: Path) -> set[str]:
    names = [*(file.name for file in snapshot.files), *snapshot.left_out]
    return set(choose(names, folder))


def files_in(folder: Path) -> dict[str, int]:
    """Return the files that a snapshot's folder should hold, with their bytes.

    Without a readable manifest these are the files that it holds.
    """
    try:
        return {file.name: file.size for file in _read(folder).files}
    except (OSError, ValueError):
        return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


def _read(folder: Path) -> Snapshot:
    return Snapshot.model_validate_json((folder / _MANIFEST).read_text(encoding="utf-8"))


def _whole(folder: Path, progress: Progress) -> Snapshot | None:
    """Return the manifest if the folder is whole; if a file went bad, make it unfinished again."""
    if not folder.is_dir():
        return None
    try:
        snapshot = _read(folder)
    except (FileNotFoundError, ValueError):  # no manifest, or one of another version
        (folder / _MANIFEST).unlink(missing_ok=True)
    else:
        if not (wrong := changed(folder, snapshot.files, _digests(folder), progress)):
            return snapshot
        for name in wrong:
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # somebody else was quicker
        folder.rename(_partial(folder))
    return None


def _partial(folder: Path) -> Path:
    """Return where `build_once` builds a folder."""
    return folder.with_name(f".{folder.name}.partial")


def _digests(folder: Path) -> Path:
    """Return where the digests of a folder's files are remembered."""
    return folder.with_name(f".{folder.name}.digests")


class _Download:
    """One download of one commit."""

    def __init__(
        self,
        repository: Repository,
        what: Resolved,
        choose: Choose,
        late: Callable[[str], bool],
        check: Callable[[Path, Sequence[str]], object],
        progress: Progress,
    ) -> None:
        self.repository, self.folder = repository, what.folder
        self.late, self.check, self.progress = late, check, progress
        self.hub: Hub = connect(repository.source)
        self.listing: Listing = what.listing or ask(
            self.hub, repository, what.commit, timeout=_LIST_SECONDS, attempts=_LIST_ATTEMPTS
        )
        self.choose = choose
        self._want(self.folder if self.folder.is_dir() else None)

    def _want(self, folder: Path | None) -> None:
        """Choose the files, by what stands in a folder if there is one."""
        chosen = set(self.choose([file.name for file in self.listing.files], folder))
        self.files = [file for file in self.listing.files if file.name in chosen]
        self.total = sum(file.size for file in self.files)
        for name in chosen:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise WeightsError(f"{self.repository} lists a file outside of itself: {name!r}.")

    def run(self) -> None:
        """Build the folder, or add what one lacks that was built for a smaller choice."""
        self.progress.say(
            f"downloading {self.repository} at {self.listing.commit}: {len(self.files)} files"
        )
        with self._watch():
            build_once(
                self.folder,
                self._fill,
                on_wait=lambda: self.progress.say(
                    f"another run is downloading {self.repository}; waiting for it"
                ),
                keep_partial=True,
            )
        with FileLock(self.folder.parent / f".{self.folder.name}.lock"):
            if any(not (self.folder / file.name).exists() for file in self.files):
                self._fill(self.folder)

    def _fill(self, folder: Path) -> None:
        _sweep(folder, self._kept(), unfinished=True)
        digests = self._get(folder, late=False)
        self.check(folder, [file.name for file in digests])
        self._want(folder)  # by what the early files say
        _sweep(folder, self._kept(), unfinished=True)
        digests += self._get(folder, late=True)
        self.check(folder, [file.name for file in digests])
        _sweep(folder, self._kept(), unfinished=False)
        snapshot = Snapshot(
            source=self.repository.source,
            kind=self.repository.kind,
            id=self.repository.id,
            revision=self.listing.commit,
            files=tuple(sorted(digests, key=lambda file: file.name)),
            left_out=tuple(
                file.name for file in self.listing.files if file.name not in self._kept()
            ),
        )
        self._keep_card(folder)
        write_atomically(folder / _MANIFEST, snapshot.model_dump_json(indent=2))

    def _keep_card(self, folder: Path) -> None:
        """Keep a model's card if it comes at once; for a page about a model no download fails."""
        named = {file.name: file.size for file in self.listing.files}
        if self.repository.kind != "model" or named.get(_README, 0) > _MOST_CARD_BYTES:
            return
        if _README in named and not (folder / CARD).exists():
            with suppress(AssayError):
                content = self.hub.read(
                    self.repository, self.listing, _README, timeout=_CARD_SECONDS
                )
                write_atomically(folder / CARD, content.decode("utf-8", "replace"))

    def _kept(self) -> set[str]:
        return {_MANIFEST, CARD, *(file.name for file in self.files)}

    def _get(self, folder: Path, *, late: bool) -> list[FileDigest]:
        """Download and compare the early files, or the late ones."""
        batch = [file for file in self.files if self.late(file.name) == late]
        missing = (self.total if late else sum(file.size for file in batch)) - _bytes_in(folder)
        if missing > (free := shutil.disk_usage(folder).free):
            raise WeightsError(
                f"{self.repository} needs {missing / 1e9:.1f} GB more, "
                f"and {free / 1e9:.1f} GB are free below {folder.parent}.",
                remedy="Make room there, or set ASSAY_CACHE to a folder on a larger disk.",
            )
        self.hub.download(self.repository, self.listing, batch, folder)
        return list(self._compare(folder, batch))

    def _compare(self, folder: Path, files: Sequence[RemoteFile]) -> Iterator[FileDigest]:
        """Give the digests of files; remove the one that is not what the hub lists."""
        git = {file.name for file in files if file.git_sha1 and not file.sha256}
        names = [file.name for file in files]
        remembered = Remembered(folder, names, _digests(self.folder))
        found = hash_files(folder, names, self.progress, git=git)
        remembered.keep({name: sha256 for name, (sha256, _) in found.items()})
        for file in files:
            sha256, blob = found[file.name]
            size = (folder / file.name).stat().st_size
            listed, real = (file.git_sha1, blob) if file.name in git else (file.sha256, sha256)
            if (size, real) != (file.size, listed or real):
                (folder / file.name).unlink()
                raise_corrupt(
                    file.name, f"{file.size} bytes, digest {listed}", f"{size} bytes, {real}"
                )
            yield FileDigest(name=file.name, size=size, sha256=sha256)

    def _watch(self) -> Ticker:
        """Tell once a second how many bytes are here, whoever downloads them."""
        partial, what = _partial(self.folder), f"downloading {self.repository.id}"

        def look() -> None:
            if partial.is_dir():
                here = min(_bytes_in(partial), self.total)
                tell_bytes(self.progress, what, here, self.total)

        return Ticker(1.0, look)


def _sweep(folder: Path, names: set[str], *, unfinished: bool) -> None:
    """Remove what is neither a wanted file nor, while `unfinished`, the beginning of one."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        beginning = unfinished and any(name.startswith(wanted) for wanted in names)
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif name not in names and not beginning:
            path.unlink()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # renamed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total
