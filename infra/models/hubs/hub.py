"""What a hub is to Assay: a listing of one commit, and a way to download files of it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, Protocol
from urllib.parse import urlsplit, urlunsplit

from infra.contracts.errors import (
    CorruptWeights,
    GatedRepository,
    HubUnreachable,
    RepositoryNotFound,
)

Source = Literal["modelscope", "huggingface"]
COMMIT = re.compile(r"[0-9a-f]{40}")
TRANSIENT = frozenset([408, 425, 429, 500, 502, 503, 504])
"""Statuses after which the same request may be answered in a while."""
WORKERS = 4
"""Files downloaded at a time."""

_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class RemoteFile:
    """One file as the hub lists it."""

    name: str
    """Path below the repository, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str | None
    git_sha1: str | None = None
    """Id of the git blob, where the hub tells no SHA-256."""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    commit: str
    """Full hash, or what comes closest on a hub that does not tell it. Names the folder."""
    revision: str
    """By which the hub gives the files."""
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Repository:
    """A model or a dataset on a hub."""

    source: Source
    kind: Literal["model", "dataset"]
    id: str

    def __post_init__(self) -> None:
        # The id names a folder of ours as well.
        if not _ID.fullmatch(self.id):
            raise RepositoryNotFound(
                f"{self.id!r} is no repository id.",
                cause=f"An id on {self.source} reads owner/name.",
                remedy="Correct the id, or set the source to 'local' if this is a folder here.",
            )

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Hub(Protocol):
    """One thin adapter over one hub's own client.

    Settings of the client hold: endpoint and token come from its own variables or stored login.
    """

    endpoint: str
    endpoint_variable: str
    token_variable: str
    default_revision: str

    def list(self, repository: Repository, revision: str, *, timeout: float) -> Listing:
        """Resolve a revision and list its files; one request at a time, no client retries.

        Args:
            repository: What to list.
            revision: Branch, tag or commit.
            timeout: Seconds without an answer after which a request is given up.

        Raises:
            HubUnreachable: No answer. Its `status` is set if the hub answered an error.
            RepositoryNotFound: No such repository or revision for this token.
            GatedRepository: The hub refuses this user.
        """

    def read(self, repository: Repository, listing: Listing, name: str, *, timeout: float) -> bytes:
        """Return one small file, asking once.

        Raises:
            HubUnreachable: No answer.
            RepositoryNotFound: There is no such file.
            GatedRepository: The hub refuses this user.
        """

    def check_access(
        self, repository: Repository, listing: Listing, name: str, *, timeout: float
    ) -> None:
        """Check that this user may download a file, without downloading it.

        Raises:
            HubUnreachable: No answer.
            GatedRepository: The hub refuses this user.
        """

    def download(
        self, repository: Repository, listing: Listing, files: Sequence[RemoteFile], folder: Path
    ) -> None:
        """Download files into a folder, going on with what an earlier attempt left there.

        Raises:
            HubUnreachable: The connection was lost and did not come back.
            RepositoryNotFound: A file is gone.
            GatedRepository: The hub refuses this user.
            CorruptWeights: The hub keeps serving something else than it lists.
        """

    def create(self, repository: Repository, *, private: bool) -> None:
        """Make a repository; one that is there stays as it is.

        The token is that of the environment: a login that somebody left here writes nothing.

        Raises:
            HubUnreachable: No answer.
            GatedRepository: The hub does not let this user.
        """

    def upload(self, repository: Repository, files: Sequence[Upload], *, message: str) -> None:
        """Put files on the branch that is a repository's default, in one commit.

        Raises:
            HubUnreachable: The connection was lost, or the hub refuses what it is sent.
            RepositoryNotFound: It is gone.
            GatedRepository: The hub does not let this user.
        """


@dataclass(frozen=True)
class Upload:
    """One file that is put on a hub."""

    name: str
    """Path below the repository, with forward slashes."""
    path: Path
    """Where it lies here."""
    size: int
    """Bytes."""
    sha256: str


def connect(source: Source) -> Hub:
    """Return the adapter of a hub. Imports its client, which takes a second."""
    if source == "huggingface":
        from infra.models.hubs.huggingface import HuggingFace

        return HuggingFace()
    from infra.models.hubs.modelscope import ModelScope

    return ModelScope()


def site(hub: Hub) -> str:
    """Return the endpoint as it may be shown: an address can hold a password."""
    parts = urlsplit(hub.endpoint)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def raise_unreachable(
    hub: Hub,
    reason: str | BaseException,
    *,
    status: int | None = None,
    cause: str = "No network, or a proxy in the way.",
    may_heal: bool = False,
) -> NoReturn:
    """Raise HubUnreachable.

    Args:
        hub: The one that does not answer.
        reason: Why, if there was no answer. Holds no URL, because URLs can hold secrets.
        status: What the hub answered, if it did.
        cause: The probable cause, if there was no answer.
        may_heal: Whether it may answer in a while; an exception or a status says so by itself.
    """
    host = urlsplit(site(hub)).netloc
    if isinstance(reason, BaseException):
        may_heal = not any(
            isinstance(link, ssl.SSLCertVerificationError) for link in _chain(reason)
        )
        reason = why(reason)
    fact = f"answers HTTP {status}" if status else f"does not answer ({reason})"
    if status:
        may_heal = status in TRANSIENT
        cause = "The hub is down or busy." if may_heal else "It is no hub, or refuses the request."
    raise HubUnreachable(
        f"{host} {fact}.",
        cause=cause,
        remedy=f"Check the network, set {hub.endpoint_variable} to a mirror you can reach, "
        "or name a folder here with the source 'local'.",
        status=status,
        may_heal=may_heal,
    ) from None


def raise_not_found(hub: Hub, repository: Repository, revision: str | None = None) -> NoReturn:
    """Raise RepositoryNotFound, for a revision if one is given."""
    what = f"{repository} has no revision {revision!r}" if revision else f"no {repository}"
    raise RepositoryNotFound(
        f"{urlsplit(site(hub)).netloc}: {what}.",
        cause="The name is misspelt, or the repository is private."
        if not revision
        else "It is neither a branch, nor a tag, nor a commit there.",
        remedy=f"Correct it, or set {hub.token_variable} to a token that may read it.",
    ) from None


def raise_gated(hub: Hub, repository: Repository, page: str) -> NoReturn:
    """Raise GatedRepository with the page where access is asked for."""
    raise GatedRepository(
        f"{urlsplit(site(hub)).netloc} refuses access to the {repository}.",
        cause="Its owner grants access on request, or the token is missing or not accepted.",
        remedy=f"Ask for access on {page}, then set {hub.token_variable} to a token of yours.",
    ) from None


def raise_corrupt(file: str, expected: str, real: str) -> NoReturn:
    """Raise CorruptWeights for a downloaded file that the caller has removed."""
    raise CorruptWeights(
        f"{file} is not what the hub lists: {expected} there, {real} here.",
        cause="It was damaged on the way, or the hub serves another file than it lists.",
        remedy="It was removed: try again. If it stays so, tell the owner of the repository.",
        may_heal=True,
    ) from None


def why(error: BaseException) -> str:
    """Say in a few words, without any URL, why a connection failed."""
    for cause in reversed(_chain(error)):
        if isinstance(cause, OSError) and cause.strerror and isinstance(cause.errno, int):
            return cause.strerror
    return type(error).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error, what it came from, and so on."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
