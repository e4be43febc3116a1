"""Quantized checkpoints: each made once, by AutoAWQ in an environment of its own, and verified.

A checkpoint lies in `settings.checkpoints/<key>`, where the key is the digest of all that decides
its bytes: weights, recipe, calibration tokens, environment, machine. `manifest.json` beside the
weights holds its record.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from infra.contracts.errors import QuantizationError
from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, Made, PythonEnvironment, Weights
from infra.contracts.specs import QuantizationSpec
from infra.conversations import calibration
from infra.conversations import identity as calibration_source
from infra.conversations.calibration import Calibration
from infra.machine.deciding import matching
from infra.machine.device import Device, detect
from infra.machine.leases import lease
from infra.machine.processes import clean_environment
from infra.models.files import is_weight
from infra.quantizers.awq import limits as awq_limits
from infra.quantizers.awq import worker as awq_worker
from infra.quantizers.awq.worker import Recipe, Request, Response, Samples
from infra.store.content import (
    build_once,
    code_digest,
    digest_files,
    digest_folder,
    digest_of,
    write_atomically,
)
from infra.store.file_digests import hash_files, of_another_size
from infra.store.settings import Settings

MANIFEST = "manifest.json"


def check(weights: Weights, spec: QuantizationSpec) -> None:
    """Refuse, in milliseconds, a model that this recipe cannot quantize.

    Raises:
        UnsupportedModel: AutoAWQ cannot quantize it.
        CalibrationError: It has no chat template to render the conversations with.
    """
    awq_limits.check_model(weights, spec)
    calibration.check_template(weights.path)


def quantize(
    weights: Weights,
    spec: QuantizationSpec,
    *,
    environment: PythonEnvironment,
    moment: datetime,
    template_variables: Mapping[str, Any],
    settings: Settings,
    progress: Progress,
    log: Path,
    trust_remote_code: bool = False,
) -> tuple[Checkpoint, bool]:
    """Return the checkpoint of a recipe on a model, made now or found.

    If another run is making it, wait for that. A found one is verified by its digests; if it is
    damaged it is put aside and made again.

    Args:
        weights: The model, whole and verified.
        spec: The recipe.
        environment: Interpreter that has AutoAWQ.
        moment: What the chat template takes for now.
        template_variables: Further variables of the chat template.
        settings: Where checkpoints are kept.
        progress: Called at least every two seconds.
        log: File for all that the quantizer prints.
        trust_remote_code: Run Python code that comes with the model.

    Returns:
        The checkpoint, and whether it was there already. Its recipe and calibration card are
        those asked for now: the same conversations may have been read from elsewhere before.

    Raises:
        UnsupportedModel: AutoAWQ cannot quantize this model with this recipe.
        CalibrationError: The conversations cannot be used.
        AcceleratorsTaken: Other runs held the accelerators for too long.
        QuantizationError: AutoAWQ failed. Nothing half-written remains.
    """
    check(weights, spec)
    versions = awq_worker.versions(environment)
    device = detect("cpu" if environment.name.endswith("-cpu") else "auto")
    source = calibration_source.identity(spec.calibration, settings)
    samples = calibration.prepare(
        weights.path,
        spec.calibration,
        moment=moment,
        variables=template_variables,
        settings=settings,
        progress=progress,
        trust_remote_code=trust_remote_code,
    )
    if source != calibration_source.identity(spec.calibration, settings):
        source = None  # edited while it was read
    samples = replace(samples, card=samples.card.model_copy(update={"source": source}))
    _tell(samples, progress)
    search_dtype = _search_dtype(device, versions)
    key = _key(weights, spec, samples, environment, versions, device, search_dtype)
    final = settings.checkpoints.absolute() / key[:16]

    def build(partial: Path) -> None:
        what = f"quantizing {weights.id}"
        with lease(device, what=what, settings=settings, progress=progress) as held:
            progress.say(f"quantizing {weights.id} with AutoAWQ")
            response = awq_worker.ask(
                _request(weights, spec, samples, partial, trust_remote_code=trust_remote_code),
                model=weights.id,
                environment=environment,
                progress=progress,
                log=log,
                lease=held,
            )
        _check_seen(response, samples)
        _check_searched(response, search_dtype)
        _complete(partial, weights, response.quantization_config)
        record = _record(final, partial, weights, spec, samples, response)
        write_atomically(partial / MANIFEST, record.model_dump_json(indent=2) + "\n")
        progress.say(f"quantized in {response.seconds:.0f} s, {record.size_bytes / 1e6:.1f} MB")

    built = False
    try:
        if not _believe(final, progress):
            built = build_once(
                final,
                build,
                on_wait=lambda: progress.say(
                    f"another run is making checkpoint {final.name}; waiting for it"
                ),
            )
    except OSError as error:
        raise QuantizationError(
            f"The checkpoint folder {error.filename or final} cannot be used: {error.strerror}.",
            remedy="Point ASSAY_CACHE to a folder you may write to, on a disk with room.",
        ) from error
    if not built:
        progress.say(f"reusing checkpoint {final.name}: same weights, recipe and conversations")
    record = _manifest(final)
    assert record.made is not None  # noqa: S101 -- it is one of ours
    made = record.made.model_copy(update={"recipe": spec, "calibration": samples.card})
    # The same weights may have come from elsewhere before.
    origin = {"model": weights.id, "source": weights.source, "revision": weights.revision}
    return record.model_copy(update={"made": made, **origin}), not built


def _tell(samples: Calibration, progress: Progress) -> None:
    card = samples.card
    text = f"calibration: {card.used} of {card.read} conversations, {card.tokens_total} tokens"
    if card.dropped_too_long:
        text += (
            f"; {card.dropped_too_long} dropped, longer than {card.spec.max_sequence_length} tokens"
        )
    progress.say("; ".join([text, *card.remarks]))


def _search_dtype(device: Device, versions: dict[str, str]) -> str:
    """Return in which type AWQ will search for scales: the worker's rule, before it runs."""
    on_a_gpu = device.kind == "cuda" and not versions["torch"].endswith("+cpu")
    return "float16" if on_a_gpu else "float32"


def _key(
    weights: Weights,
    spec: QuantizationSpec,
    samples: Calibration,
    environment: PythonEnvironment,
    versions: dict[str, str],
    device: Device,
    search_dtype: str,
) -> str:
    return digest_of(
        {
            "protocol": awq_worker.PROTOCOL,
            "weights": weights.digest,
            "recipe": spec.model_dump(mode="json", exclude={"calibration"}),
            "block": spec.calibration.max_sequence_length,
            # The tokens, not the texts: which they are is up to libraries as well.
            "calibration": [samples.card.fingerprint, digest_of(samples.token_ids)],
            "environment": environment.digest,
            "versions": versions,
            "variables": matching(clean_environment()),
            "device": [device.kind, device.name, device.cores],
            "search": search_dtype,
            "code": code_digest("quantizers/awq"),
        }
    )


def _request(
    weights: Weights,
    spec: QuantizationSpec,
    samples: Calibration,
    output: Path,
    *,
    trust_remote_code: bool,
) -> Request:
    return Request(
        model=weights.path,
        output=output,
        safetensors=any(file.name.endswith(".safetensors") for file in weights.files),
        trust_remote_code=trust_remote_code,
        quantization=Recipe(
            w_bit=spec.bits,
            q_group_size=spec.group_size,
            zero_point=spec.zero_point,
            version=spec.version.upper(),
        ),
        calibration=Samples(
            token_ids=samples.token_ids,
            max_sequence_length=spec.calibration.max_sequence_length,
        ),
    )


def _check_seen(response: Response, samples: Calibration) -> None:
    """Check that AutoAWQ dropped nothing but the end that fills no block."""
    blocks = samples.card.tokens_total // samples.card.spec.max_sequence_length
    if response.calibration.blocks != blocks:
        raise QuantizationError(
            f"AutoAWQ used {response.calibration.blocks} blocks of the calibration set, "
            f"not {blocks}.",
            cause="This version of AutoAWQ treats samples in another way.",
            remedy="Unset ASSAY_QUANTIZER_PYTHON, so that Assay builds its own environment.",
        )


def _check_searched(response: Response, expected: str) -> None:
    """Check that AWQ searched as the checkpoint's key says."""
    if response.search_dtype != expected:
        where = response.device or "the processor"
        raise QuantizationError(
            f"AutoAWQ searched in {response.search_dtype} on {where}, not in {expected}.",
            cause="Driver and torch tell different things of the accelerator.",
            remedy="Unset ASSAY_QUANTIZER_PYTHON, so that Assay builds its own environment, or set "
            "serving.device to 'cpu'.",
        )


def _complete(folder: Path, weights: Weights, quantization_config: dict[str, Any]) -> None:
    """Give the checkpoint its model's own configuration, tokenizer and template.

    Word for word, not as the quantizer's older transformers would write them: the arms must
    differ in what AWQ changed and in nothing else.
    """
    (folder / "generation_config.json").unlink(missing_ok=True)  # AutoAWQ turns sampling on
    for file in weights.files:
        if not is_weight(file.name) and not file.name.endswith(".index.json"):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(weights.path / file.name, folder / file.name)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"torch_dtype": "float16", "quantization_config": quantization_config}
    if "dtype" in config:
        config["dtype"] = "float16"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _record(
    final: Path,
    partial: Path,
    weights: Weights,
    spec: QuantizationSpec,
    samples: Calibration,
    response: Response,
) -> Checkpoint:
    files = digest_folder(partial, skip=[MANIFEST])
    return Checkpoint(
        path=final,
        digest=digest_files(files),
        files=files,
        size_bytes=sum(file.size for file in files if is_weight(file.name)),
        model=weights.id,
        source=weights.source,
        revision=weights.revision,
        quantization_config=response.quantization_config,
        made=Made(
            made_from=weights.digest,
            recipe=spec,
            calibration=samples.card,
            versions=response.versions,
            device=response.device or detect("cpu").name,
            search_dtype=response.search_dtype,
            seconds=response.seconds,
            peak_memory_bytes=response.peak_memory_bytes,
        ),
    )


def _manifest(folder: Path) -> Checkpoint:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    return Checkpoint.model_validate_json(text).model_copy(update={"path": folder})


def _believe(final: Path, progress: Progress) -> bool:
    """Return whether a whole checkpoint is there; put a damaged one aside."""
    if not final.is_dir():
        return False
    if _flaw(final, progress) is None:
        return True
    with FileLock(final.parent / f".{final.name}.lock"):
        # Looked at again: another run may have mended it meanwhile.
        if not final.is_dir() or (flaw := _flaw(final, progress)) is None:
            return final.is_dir()
        aside = final.parent / f".{final.name}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    progress.say(
        f"checkpoint {final.name} is damaged: {flaw}. Put aside as {aside}; making it anew"
    )
    return False


def _flaw(folder: Path, progress: Progress) -> str | None:
    try:
        record = _manifest(folder)
        for name, what in of_another_size(folder, record.files).items():
            return f"{folder / name} {what}"
        hashed = hash_files(folder, [file.name for file in record.files], progress)
    except (OSError, ValidationError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    changed = [file.name for file in record.files if hashed[file.name][0] != file.sha256]
    return f"{', '.join(changed)} changed since it was made" if changed else None
