"""Hugging Face through `huggingface_hub`.

`snapshot_download` throws away a file that was cut off, so that a 5 GB shard starts anew. The
client's own `http_get`, one level below, takes up where a file ends; this is why it is used here.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.models.hubs.hub import (
    TRANSIENT,
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

_PARTIAL = ".incomplete"
_PATIENCE = 2
"""Failures in a row, without a new byte between them, before a download is given up."""


class HuggingFace:
    """Adapter over `huggingface_hub`."""

    endpoint_variable = "HF_ENDPOINT"
    token_variable = "HF_TOKEN"  # noqa: S105 - the name of a variable
    default_revision = "main"

    def __init__(self) -> None:
        # All that is used later: threads that import parts of one package at once can fail.
        from huggingface_hub import constants, errors, file_download, hf_api, utils  # noqa: F401

        self.endpoint: str = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT

    def list(self, repository: Repository, revision: str, *, timeout: float) -> Listing:
        """See `Hub.list`."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, library_name="assay")
        ask = api.model_info if repository.kind == "model" else api.dataset_info
        with self._errors(repository, revision):
            info = ask(repository.id, revision=revision, files_metadata=True, timeout=timeout)
        if not info.sha or info.siblings is None:
            raise_unreachable(self, "the answer is not a hub's")
        files = (
            RemoteFile(
                name=file.rfilename,
                size=file.size or 0,
                sha256=file.lfs.sha256 if file.lfs else None,
                git_sha1=None if file.lfs else file.blob_id,
            )
            for file in info.siblings
        )
        return Listing(commit=info.sha, revision=info.sha, files=tuple(files))

    def read(self, repository: Repository, listing: Listing, name: str, *, timeout: float) -> bytes:
        """See `Hub.read`."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = self._url(repository, listing.revision, name)
        headers = build_hf_headers(library_name="assay")
        with self._errors(repository, listing.revision):
            session = get_session()
            answer = session.get(url, headers=headers, timeout=timeout, follow_redirects=False)
            # A renamed repository is elsewhere on the hub; nobody else is asked.
            while (there := answer.next_request) and there.url.host == answer.url.host:
                answer = session.send(there)
            hf_raise_for_status(answer)
            return bytes(answer.content)

    def check_access(
        self, repository: Repository, listing: Listing, name: str, *, timeout: float
    ) -> None:
        """See `Hub.check_access`: a listing is public where the files are not."""
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.utils import build_hf_headers

        with self._errors(repository, listing.revision):
            get_hf_file_metadata(
                self._url(repository, listing.revision, name),
                timeout=timeout,
                headers=build_hf_headers(library_name="assay"),
                endpoint=self.endpoint,
            )

    def _url(self, repository: Repository, commit: str, name: str) -> str:
        from huggingface_hub import hf_hub_url

        url: str = hf_hub_url(
            repository.id, name, repo_type=repository.kind, revision=commit, endpoint=self.endpoint
        )
        return url

    def download(
        self, repository: Repository, listing: Listing, files: Sequence[RemoteFile], folder: Path
    ) -> None:
        """See `Hub.download`."""
        stop = threading.Event()
        with self._errors(repository, listing.revision), ThreadPoolExecutor(WORKERS) as pool:
            work = [
                pool.submit(self._download_one, repository, listing.revision, file, folder, stop)
                for file in files
            ]
            try:
                for done in wait(work, return_when=FIRST_EXCEPTION).done:
                    done.result()
            except BaseException:
                # Leaving the pool waits for its threads: they end at their next chunk.
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _download_one(
        self,
        repository: Repository,
        commit: str,
        file: RemoteFile,
        folder: Path,
        stop: threading.Event,
    ) -> None:
        from huggingface_hub.errors import HfHubHTTPError, HTTPError
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers, silent_tqdm

        class Brake(silent_tqdm):  # type: ignore[misc]
            """The client tells its progress bar of each chunk; this one can end the download."""

            def update(self, n: float | None = 1) -> None:
                if stop.is_set():
                    raise InterruptedError(errno.EINTR, "another file failed first")

        target = folder / file.name
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + _PARTIAL)
        url = self._url(repository, commit, file.name)
        headers = build_hf_headers(library_name="assay") | {"Accept-Encoding": "identity"}
        best, idle = 0, 0
        while True:
            try:
                with part.open("ab") as stream:
                    http_get(
                        url,
                        stream,
                        resume_size=stream.tell(),
                        headers=headers,
                        expected_size=file.size,
                        displayed_filename=file.name,
                        tqdm_class=Brake,
                    )
                part.replace(target)
                return
            except HfHubHTTPError as error:
                if error.response.status_code == 416:
                    break  # the hub has less than is here already
                if error.response.status_code not in TRANSIENT or idle == _PATIENCE:
                    raise
            except HTTPError:
                if idle == _PATIENCE:
                    raise
            except OSError as error:
                if error.errno is not None:
                    raise  # the disk's fault or the brake, not the client's complaint about a size
                if part.stat().st_size > file.size or idle == _PATIENCE:
                    break
            idle = 0 if part.stat().st_size > best else idle + 1
            best = max(best, part.stat().st_size)
            if stop.wait(1):
                return
        found = part.stat().st_size
        part.unlink()
        raise_corrupt(file.name, f"{file.size} bytes", f"{found}")

    def create(self, repository: Repository, *, private: bool) -> None:
        """See `Hub.create`."""
        with self._errors(repository, self.default_revision):
            self._writing().create_repo(
                repository.id, repo_type=repository.kind, private=private, exist_ok=True
            )

    def upload(self, repository: Repository, files: Sequence[Upload], *, message: str) -> None:
        """See `Hub.upload`."""
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
        with self._errors(repository, self.default_revision):
            try:
                self._writing().create_commit(
                    repository.id,
                    [CommitOperationAdd(file.name, file.path) for file in files],
                    commit_message=message,
                    repo_type=repository.kind,
                )
            except RuntimeError as error:  # so it says which file it was, of whatever befell it
                raise error.__cause__ or error from None

    def _writing(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(
            endpoint=self.endpoint, token=os.environ.get(self.token_variable), library_name="assay"
        )

    @contextmanager
    def _errors(self, repository: Repository, revision: str) -> Iterator[None]:
        """Turn what the client raises into what Assay raises, without URLs: they can be signed."""
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            HTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        prefix = "" if repository.kind == "model" else "datasets/"
        page = f"{site(self)}/{prefix}{repository.id}"
        try:
            yield
        except GatedRepoError:
            raise_gated(self, repository, page)
        except (RepositoryNotFoundError, HFValidationError):
            raise_not_found(self, repository)
        except RevisionNotFoundError:
            raise_not_found(self, repository, revision)
        except HfHubHTTPError as error:
            status: Any = error.response.status_code
            if status in (401, 403):
                raise_gated(self, repository, page)
            if status == 404:
                raise_not_found(self, repository)
            raise_unreachable(self, "", status=status)
        except OfflineModeIsEnabled:
            raise_unreachable(self, "not asked", cause="HF_HUB_OFFLINE is set.")
        except HTTPError as error:
            raise_unreachable(self, error)
        except json.JSONDecodeError:
            raise_unreachable(self, "the answer is not a hub's")
