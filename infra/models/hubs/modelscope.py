"""ModelScope through `modelscope_hub`, the client that `modelscope.snapshot_download` calls."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from infra.models.hubs.hub import (
    COMMIT,
    WORKERS,
    Listing,
    RemoteFile,
    Repository,
    Upload,
    raise_corrupt,
    raise_gated,
    raise_not_found,
    raise_unreachable,
    site,
)
from infra.store.content import digest_of


class ModelScope:
    """Adapter over `modelscope_hub`."""

    endpoint_variable = "MODELSCOPE_ENDPOINT"
    token_variable = "MODELSCOPE_API_TOKEN"  # noqa: S105 - the name of a variable
    default_revision = "master"

    def __init__(self) -> None:
        from modelscope_hub import HubApi, HubConfig

        _quiet()
        config = HubConfig()
        self.endpoint: str = config.endpoint or ""
        self._api = HubApi(config)

    def list(self, repository: Repository, revision: str, *, timeout: float) -> Listing:
        """See `Hub.list`."""
        client = self._api.legacy
        folder = "repo/tree" if repository.kind == "dataset" else "repo/files"
        with self._errors(repository, revision):
            # The public listing drops who committed last, and tries for a minute before it fails.
            answer = client._request(
                "GET",
                f"{repository.kind}s/{repository.id}/{folder}",
                params={"Revision": revision, "Recursive": "False"},
                timeout=(timeout, timeout),
                single_attempt=True,
            )
            head: Any = client._json_data(answer)
            if not isinstance(head, dict) or "Files" not in head:
                raise_not_found(self, repository)
            if head["Files"] is None:  # so it says that there is no such revision
                raise_not_found(self, repository, revision)
            entries: list[dict[str, Any]] = client.list_repo_files(
                repository.id, repository.kind, revision
            )
        commit = _commit(revision, head.get("LatestCommitter") or {}, entries)
        files = (
            RemoteFile(
                name=entry["Path"], size=entry.get("Size") or 0, sha256=entry.get("Sha256") or None
            )
            for entry in entries
            if entry.get("Type") != "tree"
        )
        by = commit if COMMIT.fullmatch(commit) else revision
        return Listing(commit=commit, revision=by, files=tuple(files))

    def read(self, repository: Repository, listing: Listing, name: str, *, timeout: float) -> bytes:
        """See `Hub.read`."""
        client = self._api.legacy
        with self._errors(repository, listing.revision):
            answer = client._request(
                "GET",
                f"{repository.kind}s/{repository.id}/repo",
                params={"Revision": listing.revision, "FilePath": name},
                timeout=(timeout, timeout),
                single_attempt=True,
            )
            return bytes(answer.content)

    def check_access(
        self, repository: Repository, listing: Listing, name: str, *, timeout: float
    ) -> None:
        """See `Hub.check_access`: who gets the listing gets the files."""

    def download(
        self, repository: Repository, listing: Listing, files: Sequence[RemoteFile], folder: Path
    ) -> None:
        """See `Hub.download`."""
        wanted = [{"Path": file.name, "Size": file.size, "Sha256": file.sha256} for file in files]
        with self._errors(repository, listing.revision):
            self._api.download_repo(
                repository.id,
                repository.kind,
                revision=listing.revision,
                local_dir=folder,
                cache_dir=folder / ".locks",  # it wants a place for locks, even so
                file_list=wanted,
                max_workers=WORKERS,
            )

    def create(self, repository: Repository, *, private: bool) -> None:
        """See `Hub.create`."""
        from modelscope_hub.errors import AlreadyExistsError

        with self._errors(repository, self.default_revision), suppress(AlreadyExistsError):
            self._api.create_repo(
                repository.id, repository.kind, visibility="private" if private else "public"
            )

    def upload(self, repository: Repository, files: Sequence[Upload], *, message: str) -> None:
        """See `Hub.upload`."""
        with (
            self._errors(repository, self.default_revision),
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(sys.stderr),  # where the client speaks, the result of a command stands
        ):
            for file in files:  # the client takes a folder, and follows links
                there = Path(folder) / file.name
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(file.path)
            self._api.upload_folder(
                repository.id, repository.kind, folder, commit_message=message,
                max_workers=WORKERS, use_cache=False, disable_tqdm=True,
            )  # fmt: skip

    @contextmanager
    def _errors(self, repository: Repository, revision: str) -> Iterator[None]:
        """Turn what the client raises into what Assay raises, without URLs: they can be signed."""
        from modelscope_hub import FileDownloadError, HubError
        from requests import RequestException

        try:
            yield
        except FileDownloadError as error:
            failures = error.failed_files.items()
            # A wrong file explains more than a connection that another file lost.
            name, worst = min(failures, key=lambda item: not _integrity(item[1]))
            self._translate(worst, repository, revision, name)
        except HubError as error:
            self._translate(error, repository, revision, "")
        except json.JSONDecodeError:
            raise_unreachable(self, "the answer is not a hub's")
        except RequestException as error:
            raise_unreachable(self, error)

    def _translate(
        self, error: BaseException, repository: Repository, revision: str, name: str
    ) -> None:
        from modelscope_hub import APIError

        if _integrity(error):
            raise_corrupt(name, "one size and digest", "another")
        if not isinstance(error, APIError):
            if isinstance(error, OSError) and error.errno is not None:
                raise error  # the disk's fault
            raise_unreachable(self, error)
        if error.status_code in (401, 403):
            raise_gated(self, repository, f"{site(self)}/{repository.kind}s/{repository.id}")
        if error.status_code == 404:
            raise_not_found(self, repository)
        raise_unreachable(self, error, status=error.status_code)


def _integrity(error: BaseException) -> bool:
    from modelscope_hub import FileIntegrityError

    return isinstance(error, FileIntegrityError)


def _commit(revision: str, last: dict[str, Any], entries: list[dict[str, Any]]) -> str:
    """Return the commit a revision stands for.

    The hub tells the full hash of the commit that last changed each file, but of the newest
    commit as a rule only the first eight digits. The one completes the other, unless the newest
    commit changed no file that is still there.
    """
    if COMMIT.fullmatch(revision):
        return revision
    short = last.get("Id") or last.get("ShortId") or ""
    hashes = {str(entry.get("Revision") or "") for entry in entries}
    full = [commit for commit in hashes if COMMIT.fullmatch(commit) and commit.startswith(short)]
    if short and len(full) == 1:
        return full[0]
    return short or digest_of(sorted([entry["Path"], entry.get("Sha256")] for entry in entries))


@functools.cache
def _quiet() -> None:
    """Keep the client's own bars and log lines off the terminal; ours say all.

    There is no switch for the bars: it always draws them, and tqdm reads `TQDM_DISABLE` only when
    it is imported, which somebody else has done long before.
    """
    import modelscope_hub._download as client

    client.tqdm = functools.partial(client.tqdm, disable=True)  # type: ignore[attr-defined]
    if "MODELSCOPE_LOG_LEVEL" not in os.environ:
        logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
