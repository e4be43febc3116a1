"""One arm's reading of the fidelity texts: made once, kept for later runs."""

from __future__ import annotations

import importlib.metadata
import math
import shutil
from functools import cached_property, partial
from pathlib import Path

from infra.contracts.capability import Capability
from infra.contracts.errors import ServerUnverified
from infra.contracts.records import Reading
from infra.conversations import calibration
from infra.conversations import identity as calibration_source
from infra.engines.endpoint import ServedEndpoint
from infra.models.tokenizer_identity import tokenizer_digest
from infra.probes.fidelity import texts
from infra.probes.fidelity.reading import read
from infra.probes.probe import Probe
from infra.probes.triage.answers import Tell
from infra.store.content import (
    build_once,
    code_digest,
    digest_file,
    digest_of,
    is_there,
    write_atomically,
)
from infra.store.usage import used
from infra.suite import kind_of

_POSITIONS, _READING = "positions.npz", "reading.json"
_CHOOSING = (
    "probes/fidelity", "conversations/overlap.py", "conversations/loading.py",
    "conversations/forms.py", "conversations/reading", "conversations/calibration.py",
    "models/tokenizer.py", "scoring/frame.py",
)  # fmt: skip
"""Code that decides which texts there are, and which tokens they are."""

_CUTTING = ("transformers", "tokenizers")
"""Packages that decide which tokens a text is."""

_LARGEST_NLL = 700.0
"""Nats a token: the exponential of more is no number. No vocabulary makes a model so surprised."""


class ReadingProbe(Probe):
    """What one arm expects next in the fidelity texts."""

    field = "reading"
    missed = "the fidelity texts were not read"
    needs = (frozenset([Capability.TOKEN_PROMPTS]), frozenset([Capability.PROMPT_LOGPROBS]))

    @property
    def present(self) -> bool:
        """Whether no request is needed: it is not wanted, or an earlier run has read.

        Raises:
            DatasetError: The user's texts cannot be read.
        """
        if not self._spec.fidelity.enabled or not self._texts.tokens:
            return True
        return is_there(self._kept, self._subject.behind)

    def _measure(self, server: ServedEndpoint) -> None:
        # One token is always generated. A server that had to be started with a shorter window
        # than was asked for reads shorter texts, which the comparison sees.
        whole = self._texts.cut(server.window - 1)
        count = len(whole.tokens)

        def build(folder: Path) -> None:
            found = read(
                server, whole.tokens, self._spec.fidelity.top_k, whole.origin, self._tell(count)
            )
            self._require()
            found.save(folder / _POSITIONS)
            reading = Reading(
                texts=found.texts,
                file=_POSITIONS,
                documents=count,
                tokens=len(found.own),
                nll=found.nll,
                perplexity=math.exp(min(found.nll, _LARGEST_NLL)),
            )
            write_atomically(folder / _READING, reading.model_dump_json(indent=2))
            self._progress.say(
                f"fidelity: read {reading.tokens:,} tokens, perplexity {reading.perplexity:.3f}"
            )

        wait = partial(self._progress.say, "another run reads the same texts; waiting for it")
        try:
            build_once(self._kept, build, on_wait=wait, behind=self._subject.behind)
        except ServerUnverified:
            server.raise_if_failing()
            raise

    def found(self) -> Reading | None:
        """Return what is kept, with its file brought into the run's folder."""
        if not self._spec.fidelity.enabled or not self._texts.tokens or not self._kept.is_dir():
            return None
        file = self._run.path / "readings" / f"{self._subject.name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._kept / _POSITIONS, file)
        reading = Reading.model_validate_json((self._kept / _READING).read_text(encoding="utf-8"))
        return reading.model_copy(update={"file": file.relative_to(self._run.path).as_posix()})

    @property
    def _kept(self) -> Path:
        code = code_digest("probes/fidelity")
        key = [self._subject.conditions, self._texts.digest, self._spec.fidelity.top_k, code]
        kept = self._folder / digest_of(key)[:32]
        used(kept)
        return kept

    @property
    def _folder(self) -> Path:
        return self._settings.cache / "readings"

    @cached_property
    def _texts(self) -> texts.Texts:
        """The texts as tokens, remembered: to find them all tasks have to be loaded."""
        spec = self._spec.fidelity
        window = self._subject.arm.serving.max_model_len
        chosen = spec.model_dump(mode="json", include={"documents", "max_tokens"})
        calibrated_on = self._spec.calibrations
        contents = [calibration_source.identity(one, self._settings) for one in calibrated_on]
        source = self._source()
        key = [
            tokenizer_digest(self._subject.tokenizer), self._subject.trusts_tokenizer,
            [importlib.metadata.version(name) for name in _CUTTING], chosen, source,
            [one.model_dump(mode="json") for one in calibrated_on],
            self._spec.evaluation.add_bos_token,
            # What the texts must not share words with: a branch on a hub may move.
            contents,
            code_digest(*_CHOOSING),
        ]  # fmt: skip
        kept = self._folder / "texts" / f"{digest_of(key)[:32]}.json"
        used(kept)
        identified = None not in (source, *contents)
        if identified and kept.is_file():
            found = texts.Texts.model_validate_json(kept.read_text(encoding="utf-8"))
        else:
            found = self._choose()
            if identified:
                write_atomically(kept, found.model_dump_json())
        return found.cut(window - 1) if window else found

    def _source(self) -> object:
        """Return what decides which texts there are; none if nobody can tell what it is."""
        if file := self._spec.fidelity.texts:
            texts.read(self._spec.fidelity)  # says what is wrong with it
            return _content(file)
        spec = self._spec.evaluation
        keys = kind_of(spec).keys(spec, settings=self._settings, progress=self._progress)
        return None if None in keys.values() else keys

    def _choose(self) -> texts.Texts:
        spec, settings, progress = self._spec.fidelity, self._settings, self._progress
        subject = self._subject
        tokenizer = calibration.load_tokenizer(subject.tokenizer, subject.trusts_tokenizer)
        calibrated_on = self._spec.calibrations
        bos = self._spec.evaluation.add_bos_token
        if spec.texts:
            return texts.of_file(
                spec,
                calibrated_on,
                tokenizer,
                settings=settings,
                progress=progress,
                add_bos_token=bos,
            )
        evaluation = self._spec.evaluation
        suite = kind_of(evaluation).prepare(evaluation, settings=settings, progress=progress)
        found = texts.of_tasks(
            suite,
            spec,
            calibrated_on,
            tokenizer,
            settings=settings,
            progress=progress,
            add_bos_token=bos,
        )
        if not found.tokens:
            progress.say("fidelity: no question of the tasks can be read; nothing is compared")
        return found

    def _tell(self, total: int) -> Tell:
        return lambda done: self._progress.update("fidelity: reading", done, total, "texts")


def _content(path: str) -> str:
    return digest_file(Path(path).expanduser()).sha256
