"""What a push would put where, or why it may not be; nothing is sent."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from infra.contracts import wording
from infra.contracts.errors import PushRefused
from infra.contracts.records import Checkpoint, FileDigest, Pair, Record, Report
from infra.judging.endpoint import is_of_endpoint
from infra.models.hubs.hub import Repository, Source
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
