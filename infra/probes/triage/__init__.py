"""A cheap look at the candidate before its tasks: is it worth an evaluation?

files     the checkpoint on disk, beside the baseline's weights
gguf_look the same, of a GGUF file
served    its answers, beside the baseline's
verdict   what failed checks mean
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.capability import Capability, Need, named, unmet
from infra.contracts.progress import Progress
from infra.contracts.records import ArmResult, Check, Checkpoint, Triage, Weights
from infra.contracts.specs import TriageSpec
from infra.contracts.specs.places import errors_placed
from infra.conversations import identity as calibration_source
from infra.engines.endpoint import ServedEndpoint
from infra.models import gguf_file
from infra.models.chat_template import moment_of
from infra.models.origin import another_base
from infra.models.origin import of as origin_of
from infra.probes.subject import Subject
from infra.probes.triage import answers, files, gguf_look, served
from infra.probes.triage.prompts import prompts
from infra.probes.triage.served import Baseline
from infra.probes.triage.verdict import stop_if_broken
from infra.store.content import code_digest, digest_of, is_there, write_atomically, written_ns
from infra.store.run_folder import RunFolder
from infra.store.usage import used

__all__ = ["Look", "look_at_files", "look_at_ready_made"]

_FILES, _WHOLE = "triage-files", "triage"
_CODE = (
    "probes/triage", "models/quantization", "models/safetensors_header.py", "models/files.py",
    "models/gguf_file.py", "models/origin.py",
)  # fmt: skip
"""Code that decides what is found."""

_NEEDS: tuple[Need, ...] = (
    frozenset([Capability.COMPLETIONS]),
    frozenset([Capability.TOKEN_PROMPTS]),
    frozenset([Capability.ECHO_LOGPROBS]),
)
_LONGEST_PROMPT = 1024
"""Tokens: long prompts cost time and say no more about the weights."""


def look_at_files(
    name: str,
    checkpoint: Checkpoint,
    origin: Weights,
    spec: TriageSpec,
    *,
    run: RunFolder,
    progress: Progress,
) -> None:
    """Look at a checkpoint on disk; the run's folder keeps what was found.

    Args:
        name: Of its arm.
        checkpoint: The checkpoint.
        origin: The weights it was made from.
        spec: Whether to look.
        run: Keeps what was found.
        progress: Hears what was found.

    Raises:
        BrokenCheckpoint: It is not worth an evaluation.
    """
    if not spec.enabled:
        return
    started = time.monotonic()
    shards = [origin.path / f.name for f in origin.files if f.name.endswith(".safetensors")]
    checks = _looked_at(checkpoint.path, shards, progress)
    _keep(name, checks, started, run)
    stop_if_broken(checks, checkpoint, progress)
    progress.say(f"triage: {len(checks)} checks of the checkpoint's files passed")


def look_at_ready_made(
    name: str,
    checkpoint: Checkpoint,
    baseline: ArmResult,
    spec: TriageSpec,
    *,
    run: RunFolder,
    progress: Progress,
) -> None:
    """Look at a quantized checkpoint that came as it is, beside the baseline's weights.

    Args:
        name: Of its arm.
        checkpoint: The checkpoint.
        baseline: What it is held against; its weights may lie elsewhere.
        spec: Whether to look.
        run: Keeps what was found.
        progress: Hears what was found.

    Raises:
        BrokenCheckpoint: It is not worth an evaluation.
    """
    if not spec.enabled:
        return
    started = time.monotonic()
    shards = sorted(baseline.checkpoint.path.glob("*.safetensors"))
    if baseline.checkpoint.quantization:
        shards = []  # rounded weights say nothing about how well others were rounded
    other = another_base(origin_of(checkpoint.path), baseline.checkpoint.model)
    checks = _looked_at(checkpoint.path, shards, progress, ready_made=True, another_base=other)
    _keep(name, checks, started, run)
    stop_if_broken(checks, checkpoint, progress, baseline=baseline.checkpoint.digest)
    progress.say(f"triage: {len(checks)} checks of {name}'s files passed")


def _looked_at(
    folder: Path, baseline: Sequence[Path], progress: Progress, **how: Any
) -> tuple[Check, ...]:
    if file := gguf_file.find(folder):
        return gguf_look.look(file, baseline, progress, **how)
    return files.look(folder, baseline, progress, **how)


def _keep(name: str, checks: tuple[Check, ...], started: float, run: RunFolder) -> None:
    seconds = round(time.monotonic() - started, 2)
    run.write(f"{_FILES}-{name}", Triage(checks=checks, agreement=None, seconds=seconds))


class Look:
    """The look at one arm while it is served."""

    def __init__(self, subject: Subject, *, baseline: ArmResult | None) -> None:
        """Prepare; nothing is requested yet.

        Args:
            subject: The arm.
            baseline: The baseline's result, for a candidate.
        """
        self._subject = subject
        self._spec = subject.spec
        self._baseline_digest = baseline.checkpoint.digest if baseline else None
        self._run = subject.run
        self._settings = subject.settings
        self._progress = subject.progress
        code = code_digest(*_CODE)
        beside = baseline.identity if baseline else subject.identity
        # Findings are about both: the same candidate is another one's loss beside another baseline.
        kept = digest_of([subject.identity, beside, self._prompts_key(), code])[:32]
        self._kept = subject.settings.triage / f"{kept}.json"
        self._baseline_answers = subject.settings.triage / digest_of([beside, code])[:32]
        used(self._kept)
        used(self._baseline_answers)

    def _prompts_key(self) -> list[object]:
        """Return what decides which prompts there are; of this run alone where nobody can tell."""
        spec = self._spec.evaluation.triage.model_dump(mode="json", exclude={"min_agreement"})
        if (source := self._spec.probe_conversations) is None:
            return [spec]
        content = calibration_source.identity(source, self._settings)
        return [spec, source.model_dump(mode="json"), content or self._run.id]

    def found(self) -> Triage | None:
        """Return what was found the last time that this candidate was served.

        It is judged by the bound of this run's spec.
        """
        if self._subject.is_baseline or not self._spec.evaluation.triage.enabled:
            return None
        if not is_there(self._kept, self._subject.behind):
            return None
        kept = Triage.model_validate_json(self._kept.read_text(encoding="utf-8"))
        least = self._spec.evaluation.triage.min_agreement
        checks = tuple(served.judged(check, kept.agreement, least) for check in kept.checks)
        return kept.model_copy(update={"checks": checks})

    def require_bound(self) -> None:
        """Refuse a model of which an earlier run has found that it is beyond this run's bound.

        Raises:
            BrokenCheckpoint: It is not worth an evaluation, nor to be taken from an earlier one.
        """
        if (found := self.found()) is not None:
            self._stop_if_broken(found.checks)

    def take(self, server: ServedEndpoint, require: Callable[[], None] = lambda: None) -> None:
        """Keep the baseline's answers, or judge the candidate by them.

        Args:
            server: Serves the arm.
            require: Raises if what is served may be another model by now; called before anything
                is kept.

        Raises:
            BrokenCheckpoint: It is not worth an evaluation.
            ServerError: The server does not answer.
        """
        if not self._spec.evaluation.triage.enabled:
            return
        if self._subject.is_baseline:
            self._keep_answers(server, require)
        else:
            self._judge(server, require)

    def _keep_answers(self, server: ServedEndpoint, require: Callable[[], None]) -> None:
        if unmet(_NEEDS, server.can):
            return
        prompt_ids = self._prompts(server)
        file = self._answers_to(prompt_ids)
        if not prompt_ids or is_there(file, self._subject.behind):
            return
        given = answers.ask(server, prompt_ids, self._teller("answering prompts", len(prompt_ids)))
        readings = answers.read(server, given, self._teller("reading answers", len(prompt_ids)))
        baseline = Baseline.of(given, readings)
        require()
        write_atomically(file, baseline.model_dump_json())
        self._share(file)
        self._progress.say(f"triage: kept the baseline's answers to {len(prompt_ids)} prompts")

    def _judge(self, server: ServedEndpoint, require: Callable[[], None]) -> None:
        started = time.monotonic()
        before = self._found_on_disk()
        checks = [
            *(before.checks if before else ()),
            served.kernel(server.record.kernel, self._subject.engine.kernels),
        ]
        missing = unmet(_NEEDS, server.can)
        prompt_ids = [] if missing else self._prompts(server)
        baseline, to_these = (None, False) if missing else self._baseline(prompt_ids)
        share = None
        if missing:
            title = self._subject.engine.title
            checks.append(served.not_compared(f"{title} has no {named(missing)}"))
        elif baseline is None:
            checks.append(served.not_compared("the baseline's answers are not kept"))
        else:
            more, share = self._compare(baseline, server)
            checks += more
        if baseline is not None and to_these:
            checks.append(served.calibration(baseline.prompt_logprob, "baseline"))
        elif prompt_ids and all(check.ok for check in checks):
            # A sound candidate reads noise as badly as the baseline does.
            readings = answers.read(
                server,
                [answers.Answer.none(prompt) for prompt in prompt_ids],
                self._teller("reading prompts", len(prompt_ids)),
            )
            checks.append(served.calibration(served.prompt_logprob(readings), "candidate"))
        require()
        seconds = time.monotonic() - started + (before.seconds if before else 0.0)
        triage = Triage(checks=tuple(checks), agreement=share, seconds=round(seconds, 2))
        self._run.write(f"{_WHOLE}-{self._subject.name}", triage)
        self._stop_if_broken(checks)
        write_atomically(self._kept, triage.model_dump_json(indent=2))
        self._share(self._kept)
        agreed = "" if share is None else f"; it agrees on {share:.1%} of next tokens"
        self._progress.say(f"triage: no reason to stop, in {seconds:.0f} s{agreed}")

    def _stop_if_broken(self, checks: Sequence[Check]) -> None:
        with errors_placed(self._spec.probe_places):
            stop_if_broken(
                checks, self._subject.checkpoint, self._progress, baseline=self._baseline_digest
            )

    def _compare(self, baseline: Baseline, server: ServedEndpoint) -> tuple[list[Check], float]:
        count = len(baseline.answers)
        prompt_ids = [answer.prompt for answer in baseline.answers]
        given = answers.ask(server, prompt_ids, self._teller("answering prompts", count))
        readings = answers.read(server, baseline.answers, self._teller("reading answers", count))
        least = self._spec.evaluation.triage.min_agreement
        agreement, share = served.agreement(baseline, readings, least)
        return [*served.answers(baseline.answers, given), agreement], share

    def _baseline(self, prompt_ids: list[list[int]]) -> tuple[Baseline | None, bool]:
        """Return answers of the baseline, and whether they are to these prompts.

        Prompts of an earlier calibration set do as well for a comparison. With the scores of the
        baseline all reused there may be no others: for triage alone no server is started.
        """
        exact = self._answers_to(prompt_ids)
        is_there(exact, self._subject.behind)
        files = self._baseline_answers.glob("*.json")
        kept = sorted(files, key=written_ns)
        file = exact if exact in kept else kept[-1] if kept else None
        if file is None:
            return None, False
        return Baseline.model_validate_json(file.read_text(encoding="utf-8")), file == exact

    def _prompts(self, server: ServedEndpoint) -> list[list[int]]:
        wanted = self._spec.probe_conversations
        if wanted is None:
            return []
        with errors_placed(self._spec.probe_places):
            return prompts(
                self._subject.tokenizer,
                wanted,
                self._spec.evaluation.triage.prompts,
                longest=min(server.window - answers.ANSWER_TOKENS - 1, _LONGEST_PROMPT),
                moment=moment_of(self._spec.evaluation),
                variables=self._spec.evaluation.chat_template_kwargs,
                settings=self._settings,
                progress=self._progress,
                trust_remote_code=self._subject.trusts_tokenizer,
            )

    def _share(self, file: Path) -> None:
        if self._subject.behind is not None:
            self._subject.behind.keep(file)

    def _answers_to(self, prompt_ids: list[list[int]]) -> Path:
        return (
            self._baseline_answers / f"{digest_of([answers.ANSWER_TOKENS, prompt_ids])[:32]}.json"
        )

    def _found_on_disk(self) -> Triage | None:
        file = self._run.path / f"{_FILES}-{self._subject.name}.json"
        return Triage.model_validate_json(file.read_text("utf-8")) if file.is_file() else None

    def _teller(self, what: str, total: int) -> answers.Tell:
        return lambda done: self._progress.update(f"triage: {what}", done, total, "prompts")
