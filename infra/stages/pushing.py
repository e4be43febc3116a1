"""A checkpoint that passed, put on a hub: the files that were judged, its model card, its receipt.

Nothing but a PASS of that very checkpoint is pushed: the report has to hold, and every file has to
be the one that was served. What is on the hub afterwards is held against what was sent.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from infra.contracts import wording
from infra.contracts.errors import GatedRepository, PushRefused, RepositoryNotFound
from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, FileDigest, Pair, Record, Report
from infra.judging.endpoint import is_of_endpoint
from infra.models.hubs.hub import Hub, RemoteFile, Repository, Source, Upload, connect, site
from infra.report import receipt, verdict_file
from infra.report.cards import card_names
from infra.report.receipt.sealing import load
from infra.store.content import digest_file, digest_files
from infra.store.usage import used

_SOURCES: dict[str, Source] = {
    "hf": "huggingface", "huggingface": "huggingface",
    "ms": "modelscope", "modelscope": "modelscope",
}  # fmt: skip
_CARD, _OTHER_CARD = "README.md", "assay/model-card.md"
_WEIGHTS = frozenset({".safetensors", ".bin", ".gguf", ".pt", ".pth"})
_TIMEOUT = 30.0
"""Seconds without an answer after which a listing is given up."""


class PushReceipt(Record):
    """What lets anybody check a pushed checkpoint: `assay/receipt.json`."""

    run_id: str
    seal: str
    """Of the run's report: `verify --seal` holds a report against it."""

    candidate: str
    checkpoint_sha256: str
    """Over the names and digests of the files below."""

    files: tuple[FileDigest, ...]
    """Of the checkpoint, as they were served and judged."""


@dataclass(frozen=True)
class Push:
    """What is about to be put on a hub."""

    repository: Repository
    candidate: str
    folder: Path
    """Of the checkpoint."""

    receipt: PushReceipt
    texts: dict[str, str]
    """Name on the hub → content, of what is written for it."""

    headline: str
    """Of the verdict."""

    @property
    def card(self) -> str:
        """The model card."""
        return self.texts.get(_CARD) or self.texts[_OTHER_CARD]

    @property
    def files(self) -> list[FileDigest]:
        """Everything, as it will be on the hub."""
        return [*self.receipt.files, *(_digest(name, text) for name, text in self.texts.items())]

    def table(self) -> str:
        """Return what goes where, for people."""
        files = self.files
        width = max(len(file.name) for file in files)
        lines = [
            f"{self.candidate} → {self.repository.source}: {self.repository.id}",
            self.headline,
            *(f"  {file.name:<{width}}  {wording.size(file.size):>8}  {file.sha256[:12]}"
              for file in files),
            f"{len(files)} files, {wording.size(sum(file.size for file in files))}",
        ]  # fmt: skip
        return "\n".join(lines)


def _digest(name: str, text: str) -> FileDigest:
    content = text.encode("utf-8")
    return FileDigest(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def plan(report: Path, to: str, candidate: str | None = None) -> Push:
    """Return what a push would put where; nothing is sent.

    Args:
        report: A run's `report.json`, or its folder.
        to: `hf:owner/name` or `modelscope:owner/name`.
        candidate: Which one; none if the run has only one.

    Raises:
        PushRefused: It is no PASS, or not of the files that are here.
        ReceiptError: There is no report with a receipt.
        RepositoryNotFound: The repository's id is none.
    """
    repository = _repository(to)
    path = report / "report.json" if report.is_dir() else report
    pair = _pair(path, candidate)
    _require_passed(pair)
    _require_verified(path)
    checkpoint = _checkpoint(pair, path.parent)
    _require_same_files(pair, checkpoint)
    cards = dict(zip(pair.report.judged, card_names(pair.report), strict=True))
    card = (path.parent / cards[pair.name]).read_text(encoding="utf-8")
    names = {file.name for file in checkpoint.files}
    sealed = PushReceipt(
        run_id=pair.report.run_id,
        seal=receipt.seal_of(path.parent),
        candidate=pair.name,
        checkpoint_sha256=checkpoint.digest,
        files=checkpoint.files,
    )
    whole = verdict_file.of_run(pair.report, path.with_name("report.html"))
    own = tuple(one for one in whole.candidates if one.name == pair.name)
    shown = whole.model_copy(update={"candidates": own})
    return Push(
        repository=repository,
        candidate=pair.name,
        folder=checkpoint.path,
        receipt=sealed,
        texts={
            _OTHER_CARD if _CARD in names else _CARD: card,
            "assay/verdict.json": shown.model_dump_json(indent=2) + "\n",
            "assay/receipt.json": sealed.model_dump_json(indent=2) + "\n",
        },
        headline=pair.verdict.headline,
    )


def push(planned: Push, progress: Progress, *, private: bool = True) -> str:
    """Put it on the hub, and return the address of its page.

    Args:
        planned: What was planned, a moment ago.
        progress: Says what is sent.
        private: Whether a repository that is made for it is private.

    Raises:
        PushRefused: There is no token, other weights are there, or what arrived is not what was
            sent.
        HubUnreachable: The connection was lost, or the hub refuses what it is sent.
        GatedRepository: The hub does not let this user.
    """
    hub, repository = connect(planned.repository.source), planned.repository
    _require_token(hub)
    try:
        hub.create(repository, private=private)
        _require_no_others(hub, planned)
        progress.say(f"pushing\n{planned.table()}")
        with tempfile.TemporaryDirectory() as folder:
            hub.upload(
                repository,
                list(_uploads(planned, Path(folder))),
                message=f"{planned.candidate} of {planned.receipt.run_id}: PASS",
            )
    except GatedRepository as error:
        raise GatedRepository(
            error.fact,
            cause="The token may not write there.",
            remedy=f"Set {hub.token_variable} to a token that may write to {repository.id}.",
        ) from None
    except ValueError as error:  # the client's own, of a model card that its hub does not take
        raise PushRefused(
            f"{repository.source} does not take what it is sent.",
            cause=str(error).splitlines()[0],
            remedy="Nothing was published. Put it there by hand if it is only the model card.",
        ) from None
    _require_arrived(hub, planned)
    return f"{site(hub)}/{'models/' * (repository.source == 'modelscope')}{repository.id}"


def _repository(to: str) -> Repository:
    source, colon, name = to.partition(":")
    if not colon or source not in _SOURCES or not re.fullmatch(r"[^/]+/[^/]+", name):
        raise PushRefused(
            f"{to!r} names no repository to push to.",
            cause="It reads hf:owner/name or modelscope:owner/name.",
            remedy="Write it so.",
        )
    return Repository(_SOURCES[source], "model", name)


def _pair(path: Path, candidate: str | None) -> Pair:
    document = load(path)
    if is_of_endpoint(document):
        raise PushRefused(
            f"{path} is about an endpoint that somebody else runs.",
            cause="There is no checkpoint here that could be pushed.",
            remedy="Name the report of a run with a candidate.",
        )
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        raise PushRefused(
            f"{path} does not read as a report of this version.",
            cause=f"{receipt.problems(error)[0]}.",
            remedy="Use the version of Assay that wrote it, or run the recipe again.",
        ) from error
    names = [*report.judged]
    if candidate is None and len(names) == 1:
        candidate = names[0]
    if candidate not in report.judged:
        raise PushRefused(
            f"{report.run_id} has no result of a candidate {candidate!r}."
            if candidate
            else f"{report.run_id} has {len(names)} candidates.",
            cause=f"It judged {wording.listed(names) or 'nothing'}.",
            remedy="Name one of them with --candidate.",
        )
    return Pair(report, candidate)


def _require_passed(pair: Pair) -> None:
    if pair.verdict.status != "PASS":
        raise PushRefused(
            f"{pair.name} did not pass: {pair.verdict.headline}",
            remedy=pair.verdict.needed or "Push a checkpoint that passes.",
        )
    checkpoint = pair.candidate.checkpoint
    if checkpoint.identity == pair.baseline.checkpoint.identity:
        raise PushRefused(
            f"{pair.name} has the baseline's own weights.",
            cause="It is served otherwise, which no repository holds.",
            remedy="There is nothing to push.",
        )
    if checkpoint.adapter is not None and not checkpoint.adapter.merged:
        raise PushRefused(
            f"{pair.name} is an adapter that the engine applies beside the baseline's weights.",
            cause="The verdict is on both together.",
            remedy="Merge it into the weights (`adapter.merge`), and evaluate what comes out.",
        )


def _require_verified(path: Path) -> None:
    wrong = [text for check in receipt.verify(path) for text in check.wrong]
    if wrong:
        raise PushRefused(
            f"{path} does not hold: {wrong[0]}.",
            cause="It, its rows or the checkpoint were changed after it was sealed.",
            remedy="`make verify` names all that is wrong. Run the recipe again.",
        )


def _checkpoint(pair: Pair, folder: Path) -> Checkpoint:
    path = folder / f"checkpoint-{pair.name}.json"
    try:
        found = Checkpoint.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise PushRefused(
            f"{path} does not say which files {pair.name} has.",
            cause=str(error).splitlines()[0],
            remedy="Run the recipe again; what has not changed is not paid for again.",
        ) from error
    return found.model_copy(update={"path": pair.candidate.checkpoint.path})


def _require_same_files(pair: Pair, checkpoint: Checkpoint) -> None:
    judged = pair.candidate.checkpoint.digest
    used(checkpoint.path)
    if not checkpoint.path.is_dir():
        raise PushRefused(
            f"The checkpoint of {pair.name} is not in {checkpoint.path} any more.",
            remedy="Run the recipe again: it makes or fetches it.",
        )
    for file in checkpoint.files:
        path = checkpoint.path / file.name
        if not path.is_file() or digest_file(path).sha256 != file.sha256:
            raise PushRefused(
                f"{path} is not what was evaluated.",
                cause="It was changed or removed since: the verdict says nothing about it.",
                remedy="Evaluate it as it is now, and push that.",
            )
    if digest_files(checkpoint.files) != judged:
        raise PushRefused(
            f"The files of {pair.name} are not those of the report.",
            remedy="Run the recipe again.",
        )


def _require_token(hub: Hub) -> None:
    if not os.environ.get(hub.token_variable):
        raise PushRefused(
            f"There is no token: {hub.token_variable} is not set.",
            cause="Nothing is written with a login that somebody left on this machine.",
            remedy=f"Set {hub.token_variable} to a token that may write.",
        )


def _listed(hub: Hub, repository: Repository) -> dict[str, RemoteFile]:
    try:
        listing = hub.list(repository, hub.default_revision, timeout=_TIMEOUT)
    except RepositoryNotFound:  # of a new one some hubs know no revision yet
        return {}
    return {file.name: file for file in listing.files}


def _require_no_others(hub: Hub, planned: Push) -> None:
    """Refuse a repository with other weights: loaders would find two sets side by side."""
    ours = {file.name for file in planned.files}
    others = [
        name
        for name in _listed(hub, planned.repository)
        if name not in ours and PurePosixPath(name).suffix in _WEIGHTS
    ]
    if others:
        raise PushRefused(
            f"{planned.repository.id} holds other weights: {', '.join(sorted(others)[:3])}.",
            cause="They would stand beside these, and which of them is loaded nobody could tell.",
            remedy="Remove them there, or push to another repository.",
        )


def _uploads(planned: Push, folder: Path) -> Iterator[Upload]:
    for name, text in planned.texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for file in planned.files:
        root = folder if file.name in planned.texts else planned.folder
        yield Upload(file.name, (root / file.name).resolve(), file.size, file.sha256)


def _require_arrived(hub: Hub, planned: Push) -> None:
    there = _listed(hub, planned.repository)
    for file in planned.files:
        remote = there.get(file.name)
        if remote and remote.size == file.size and _is(remote, file, planned):
            continue
        raise PushRefused(
            f"{planned.repository.id} does not hold {file.name} as it was sent.",
            cause="It was changed while it was sent, or the hub keeps something else.",
            remedy="Look at the repository, remove what is wrong there, and push again.",
        )


def _is(remote: RemoteFile, file: FileDigest, planned: Push) -> bool:
    if remote.sha256:
        return remote.sha256 == file.sha256
    text = planned.texts.get(file.name)
    here = planned.folder / file.name
    content = here.read_bytes() if text is None else text.encode("utf-8")
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content)  # noqa: S324 -- git's own
    return remote.git_sha1 is None or remote.git_sha1 == blob.hexdigest()
