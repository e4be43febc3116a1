"""Is there a finished run of exactly this already?

Answered without Prefect and without lm-eval, so that asking twice for the same costs seconds. The
key covers the spec, the bytes of every input, and the code and locks of this checkout; where a hub
could hold something else by now, there is no key.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from infra.contracts.errors import AssayError, PreflightError, ReceiptError
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, Record, Report
from infra.contracts.specs import AdapterSpec, ArmSpec, CalibrationSpec, ModelSpec, RunSpec
from infra.conversations import identity as calibration_source
from infra.engines.embeddings import identity_of
from infra.engines.registry import engine_of
from infra.judging.planning import margin_taken
from infra.machine import cores
from infra.machine.device import Device, detect
from infra.machine.environments import locate
from infra.models import lora, weights
from infra.models.hubs.hub import COMMIT
from infra.models.template_clock import today_of
from infra.quantizers import programs_of
from infra.report import baseline_pack
from infra.report.receipt.contents import check_seal, check_values
from infra.report.receipt.sealing import load
from infra.store.content import digest_file, digest_files, digest_of, written_ns
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.store.shared import shared_of
from infra.suite import kind_of, tasks_with_functions
from infra.suite.passages.pending import PROGRAM, pending

INPUTS = "inputs"
"""Name of the record of what a run started from, in its folder."""

_CODE = ("infra", "tasks", "flows")
_LIBRARIES = ("numpy", "scipy", "statsmodels", "pandas", "sacrebleu", "pydantic")
"""Packages that compute a verdict."""

_NO_CODE = ("sample",)
"""Below `infra`: what made the sample decides nothing in a run."""


class RunInputs(Record):
    """What a run starts from."""

    run_key: str | None
    """See `run_key`."""

    conversations: tuple[str | None, ...]
    """What identifies each calibration set; see `infra.conversations.identity`."""

    tasks: dict[str, str | None] = Field(default_factory=dict)
    """Task → digest of all that decides its questions and their marking; none if that is unknown.
    Empty in runs of earlier versions."""

    engines: dict[str, str] = Field(default_factory=dict)
    """Arm → digest of the environment that its engine runs in."""

    code: str = ""
    """See `infra.report.baseline_pack.code`. Empty in runs of earlier versions."""

    variables: dict[str, str] = Field(default_factory=dict)
    """Variables of this process that reach the baseline's engine and may change an answer."""

    named: dict[str, str | None] = Field(default_factory=dict)
    """What the baseline's settings name that lies here → digest; none where nobody can tell."""

    cores: int | None = None
    """Of the processor that the baseline computes on; none on an accelerator."""

    threads: int | None = None
    """As many of them as it could take the time of; earlier versions took all."""

    commit: str | None
    """Of this checkout, marked if files were changed; none outside of git."""


def run_key(spec: RunSpec, settings: Settings) -> str | None:
    """Return the digest of all that decides a run's outcome, or none if some of it is unknown."""
    try:
        inputs = [
            *(_model(model, settings) for model in _models(spec)),
            *(_adapter(arm.adapter, settings) for arm in spec.evaluated.values() if arm.adapter),
            *(_calibration(one) for one in _conversations(spec)),
            *_tasks(spec, settings),
            _embedding(spec),
            *_libraries(spec, settings),
            digest_file(Path(texts).expanduser()).sha256 if (texts := spec.fidelity.texts) else "",
            None if spec.evaluation.moment == "now" else "",
            *_dates(spec, settings),
            *(
                digest_of([text, content]) if content else None
                for arm in _served(spec)
                for text, content in _named(arm).items()
            ),
            digest_file(Path(spec.baseline_pack).expanduser()).sha256 if spec.baseline_pack else "",
        ]
        if None not in inputs:
            inputs.append(margin_taken(spec, settings))
        served = _served(spec)
        devices = [detect(arm.serving.computes_on) for arm in served]
        environments = [
            [
                device.kind,
                device.name,
                device.driver,
                device.cores,
                *_environments(arm, device, settings),
                engine_of(arm.serving).variables(),
            ]
            for arm, device in zip(served, devices, strict=True)
        ]
    except (AssayError, OSError):
        return None  # the preflight says what is wrong
    if None in inputs:
        return None
    fields = spec.model_dump(mode="json", exclude={"results"})
    # A processor works for an accelerator too, and what it may do shows in speed and in threads.
    machine = [platform.node(), platform.python_version(), cores.allowed(), cores.quota()]
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return digest_of([fields, inputs, environments, machine, versions, _code()])


def inputs_of(spec: RunSpec, settings: Settings) -> RunInputs:
    """Return what a run starts from, found when it starts.

    Files may be edited while it runs: what they hold at its end is not what it used.
    """
    device = _device(spec.baseline)
    return RunInputs(
        run_key=run_key(spec, settings),
        conversations=tuple(
            calibration_source.identity(one, settings) for one in spec.calibrations
        ),
        tasks=_task_keys(spec, settings),
        engines=_engines(spec, settings),
        code=baseline_pack.code(),
        variables=dict(engine_of(spec.baseline.serving).variables()),
        named=_named(spec.baseline),
        cores=device.cores if device else None,
        threads=device.threads if device else None,
        commit=_commit(),
    )


def key_of_finished(
    inputs: RunInputs, arms: Mapping[str, ArmResult], spec: RunSpec, settings: Settings
) -> str | None:
    """Return the key under which a finished run is found again.

    None if anything it depends on was edited since it started: nobody knows which of it was used.
    """
    cards = [arm.checkpoint.calibration for arm in arms.values()]
    used = {card.source for card in cards if card}
    edited = not used <= set(inputs.conversations) or run_key(spec, settings) != inputs.run_key
    return None if edited else inputs.run_key


def finished_run(spec: RunSpec, settings: Settings) -> tuple[Report, Path] | None:
    """Return the newest whole report of exactly this run and the path of its page."""
    key = run_key(spec, settings)
    if key is None:
        return None
    folder = runs_folder(spec.results, settings)
    if (found := _newest(key, spec, folder)) is None:
        with suppress(PreflightError):  # the preflight says what is wrong
            if (shared := shared_of(settings, Silent())) is not None:
                shared.bring_finished(shared_key(key, spec), folder)
        found = _newest(key, spec, folder)
    return found


def shared_key(key: str, spec: RunSpec) -> str:
    """Return under which name machines share a finished run."""
    return digest_of([spec.results.label, key])[:32]


def _newest(key: str, spec: RunSpec, folder: Path) -> tuple[Report, Path] | None:
    pattern = f"{spec.results.label}-*/report.json"
    for path in sorted(folder.glob(pattern), key=written_ns, reverse=True):
        page = path.with_name("report.html")
        try:
            report = Report.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue  # removed meanwhile, or written by another version
        if report.provenance.get("run_key") == key and page.is_file() and _whole(report, path):
            if not _as_sealed(path):
                continue  # somebody changed it: its verdict counts no more
            return report, page
    return None


def _as_sealed(path: Path) -> bool:
    try:
        document = load(path)
    except ReceiptError:
        return False
    return not (check_seal(document, None).wrong or check_values(document).wrong)


def _whole(report: Report, path: Path) -> bool:
    return all(
        (path.parent / task.samples).is_file()
        for arm in report.arms.values()
        for task in arm.tasks.values()
    )


def _task_keys(spec: RunSpec, settings: Settings) -> dict[str, str | None]:
    try:
        return kind_of(spec.evaluation).keys(spec.evaluation, settings=settings)
    except (AssayError, OSError):
        return {}  # the preflight says what is wrong


def _engines(spec: RunSpec, settings: Settings) -> dict[str, str]:
    found = {}
    for name, arm in spec.evaluated.items():
        try:
            found[name] = _environments(arm, detect(arm.serving.computes_on), settings)[0]
        except (AssayError, OSError):
            continue  # the preflight says what is wrong
    return found


def _named(arm: ArmSpec) -> dict[str, str | None]:
    return dict(engine_of(arm.serving).named(arm.serving))


def _device(arm: ArmSpec) -> Device | None:
    try:
        return detect(arm.serving.computes_on)
    except AssayError:
        return None  # the preflight says what is wrong


def _models(spec: RunSpec) -> list[ModelSpec]:
    embedding = spec.evaluation.embedding
    models = [arm.model for arm in spec.evaluated.values()]
    models += [embedding.model] if embedding and embedding.model else []
    return list({one.model_dump_json(): one for one in models}.values())


def _conversations(spec: RunSpec) -> list[CalibrationSpec]:
    return [*spec.calibrations, *([spec.conversations] if spec.conversations else [])]


def _embedding(spec: RunSpec) -> str | None:
    """Return what tells an endpoint that embeds from others; empty if none does.

    None where the user has no word for it. It is asked, since it may say that it is another one.
    """
    embedding = spec.evaluation.embedding
    if not embedding or not embedding.endpoint:
        return ""
    return identity_of(embedding, None, "") if embedding.endpoint.version else None


def _dates(spec: RunSpec, settings: Settings) -> list[str | None]:
    """Return the day, for each model whose server dates chats with functions; none if unknown."""
    evaluation = spec.evaluation
    if not tasks_with_functions(evaluation, settings, Silent()):
        return []
    return [
        _date(_folder(arm.model, settings), evaluation.chat_template_kwargs)
        for arm in spec.evaluated.values()
    ]


def _date(folder: Path, variables: Collection[str]) -> str | None:
    """Return the day if a template writes it, else nothing; none if it writes more or is away."""
    if not folder.is_dir():
        return None
    today = today_of(folder, variables, "")
    return None if today.clock == "time" else today.stays or ""


def _folder(spec: ModelSpec, settings: Settings) -> Path:
    """Return where a model lies, or would."""
    if spec.source == "local":
        return Path(spec.id).expanduser()
    return settings.weights / spec.source / spec.id.replace("/", "--") / str(spec.revision)


def _libraries(spec: RunSpec, settings: Settings) -> list[str]:
    """Return the environment that retrieves passages, if a task waits for them."""
    return [locate(PROGRAM, "cpu", settings)[0].digest] if pending(spec.evaluation) else []


def _served(spec: RunSpec) -> list[ArmSpec]:
    """Return all that is served, the embedding model among it."""
    embedding = spec.evaluation.embedding
    served = embedding.as_arm if embedding else None
    return [*spec.arms.values(), *([served] if served else [])]


def _environments(arm: ArmSpec, device: Device, settings: Settings) -> list[str]:
    own = Path(arm.serving.python) if arm.serving.python else None
    found = [locate(engine_of(arm.serving).environment, device.kind, settings, own)]
    found += [locate(program, device.kind, settings) for program in programs_of(arm)]
    return [environment.digest for environment, _ in found]


def _model(spec: ModelSpec, settings: Settings) -> str | None:
    if spec.source == "local":
        return weights.inspect_spec(spec, settings=settings).digest
    return _pinned(spec.revision)


def _adapter(spec: AdapterSpec, settings: Settings) -> str | None:
    if spec.source == "local":
        return lora.inspect_local(spec, settings=settings, progress=Silent()).digest
    return _pinned(spec.revision)


def _calibration(spec: CalibrationSpec) -> str | None:
    if spec.source == "file":
        return digest_file(Path(spec.path).expanduser()).sha256
    return _pinned(spec.revision)


def _pinned(revision: str | None) -> str | None:
    return revision if revision and COMMIT.fullmatch(revision) else None


def _tasks(spec: RunSpec, settings: Settings) -> list[str | None]:
    if any(dataset.source != "local" for dataset in spec.evaluation.datasets.values()):
        return [None]  # finding out could mean a download
    return list(kind_of(spec.evaluation).keys(spec.evaluation, settings=settings).values())


def _code() -> str:
    root = Path(__file__).parents[2]
    files = [
        digest_file(path).model_copy(update={"name": path.relative_to(root).as_posix()})
        for package in _CODE
        for pattern in ("*.py", "*.jinja", "*.css", "*.txt")
        for path in sorted((root / package).rglob(pattern))
        if path.relative_to(root).parts[1] not in _NO_CODE
    ]
    return digest_files(files)


def _commit() -> str | None:
    """Return the commit of this checkout, marked if files were changed; none outside of git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip

    try:
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
