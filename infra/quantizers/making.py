"""Checkpoints that are made here: each made once, by a script in an environment of its own.

A checkpoint lies in `settings.checkpoints/<key>`, where the key is the digest of all that decides
its bytes: weights, recipe, calibration tokens, environment, machine, code. `manifest.json` beside
the weights holds its record. One that is found is verified by its digests; if it is damaged it is
put aside and made again.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock
from pydantic import ValidationError

from infra.contracts.errors import QuantizationError
from infra.contracts.layout import Layout
from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, Made, PythonEnvironment, Weights
from infra.contracts.specs import CalibrationSpec, Recipe
from infra.conversations import calibration
from infra.conversations import identity as calibration_source
from infra.conversations.calibration import Calibration
from infra.machine.deciding import matching
from infra.machine.device import Device, detect
from infra.machine.leases import lease
from infra.machine.preloaded import let_go
from infra.machine.processes import clean_environment
from infra.models.file_digests import digests_below, hash_files, of_another_size
from infra.models.files import is_weight
from infra.models.unchanged import Unchanged
from infra.quantizers.worker import PROTOCOL, Request, Response, Samples, Worker
from infra.store.content import (
    build_once,
    code_digest,
    digest_files,
    digest_of,
    write_atomically,
)
from infra.store.settings import Settings
from infra.store.shared import shared_of
from infra.store.usage import used

MANIFEST = "manifest.json"
_SHARED_CODE = ("quantizers/making.py", "quantizers/worker.py", "quantizers/program")

RecipeT = TypeVar("RecipeT", bound=Recipe)


class MadeByWorker(ABC, Generic[RecipeT]):
    """A method whose script makes the checkpoint; see `infra.quantizers.port.Quantizer`.

    What differs between methods is what a subclass says: its limits, its memory, its recipe in the
    script's words. All else is the same for all, and here.
    """

    worker: Worker

    cuts_blocks = False
    """Whether the program joins conversations and cuts blocks, of which they have to fill one."""

    makes: Layout = "transformers"

    on_accelerator = True
    """Whether the program computes on an accelerator where there is one: else it takes none."""

    room: str
    """Folder below `infra` whose code decides the result, and so is in the key."""

    @property
    def title(self) -> str:
        """What people call the program."""
        return self.worker.title

    @property
    def environment(self) -> str:
        """Environment that it runs in."""
        return self.worker.program

    @abstractmethod
    def check(self, weights: Weights, recipe: RecipeT) -> None:
        """See the port."""

    @abstractmethod
    def in_its_words(self, recipe: RecipeT) -> dict[str, Any]:
        """Return the recipe as the script takes it, without conversations."""

    def deciding_words(self, recipe: RecipeT) -> dict[str, Any]:
        """Return what of the recipe in the script's words decides the result."""
        return self.in_its_words(recipe)

    @abstractmethod
    def search_dtype(self, weights: Weights, device: Device, versions: Mapping[str, str]) -> str:
        """Return in which type the script will compute: its own rule, before it runs."""

    def saved_dtype(self, weights: Weights) -> str:
        """Return the type of what is not quantized, for config.json."""
        return "float16"

    def check_response(
        self, response: Response, samples: Calibration | None, search_dtype: str
    ) -> None:
        """Refuse a checkpoint that was made in another way than its key says.

        Raises:
            QuantizationError: It was.
        """
        if response.search_dtype != search_dtype:
            where = response.device or "the processor"
            raise QuantizationError(
                f"{self.title} computed in {response.search_dtype} on {where}, not in "
                f"{search_dtype}.",
                cause="Driver and torch tell different things of the accelerator.",
                remedy=self.worker.own_environment.removesuffix(".")
                + ", or set serving.device to 'cpu'.",
            )

    def device(self, environment: PythonEnvironment) -> Device:
        """Return what the program computes on in an environment."""
        processor = not self.on_accelerator or environment.name.endswith("-cpu")
        return detect("cpu" if processor else "auto")

    def make(
        self,
        weights: Weights,
        recipe: RecipeT,
        *,
        environment: PythonEnvironment,
        moment: datetime,
        template_variables: Mapping[str, Any],
        settings: Settings,
        progress: Progress,
        log: Path,
        trust_remote_code: bool = False,
    ) -> tuple[Checkpoint, bool]:
        """Return the checkpoint of a recipe on a model, and whether it was there already.

        If another run is making it, wait for that. Its recipe and calibration card are those asked
        for now: the same conversations may have been read from elsewhere before. Else as the port.
        """
        self.check(weights, recipe)
        versions = self.worker.versions(environment)
        device = self.device(environment)
        samples = None
        if recipe.calibration is not None:
            samples = self._samples(
                weights,
                recipe.calibration,
                moment=moment,
                variables=template_variables,
                settings=settings,
                progress=progress,
                trust_remote_code=trust_remote_code,
            )
        search_dtype = self.search_dtype(weights, device, versions)
        key = self.key(weights, recipe, samples, environment, versions, device, search_dtype)
        final = settings.checkpoints.absolute() / key[:16]

        def build(partial: Path) -> None:
            what = f"quantizing {weights.id}"
            with lease(
                device, what=what, settings=settings, progress=progress, on_wait=let_go
            ) as held:
                progress.say(f"quantizing {weights.id} with {self.title}")
                loaded = Unchanged.of(weights, settings=settings, progress=progress)
                response = self.worker.ask(
                    self._request(weights, recipe, samples, partial, trust_remote_code),
                    model=weights.id,
                    environment=environment,
                    progress=progress,
                    log=log,
                    lease=held,
                )
            self.check_response(response, samples, search_dtype)
            _complete(partial, weights, response.quantization_config, self.saved_dtype(weights))
            for one in loaded:
                one.require()
            record = _record(final, partial, weights, recipe, samples, response, progress)
            write_atomically(partial / MANIFEST, record.model_dump_json(indent=2) + "\n")
            progress.say(f"quantized in {response.seconds:.0f} s, {record.size_bytes / 1e6:.1f} MB")

        built = False
        shared = shared_of(settings, progress)
        try:
            if not _believe(final, progress):
                built = build_once(
                    final,
                    build,
                    on_wait=lambda: progress.say(
                        f"another run is making checkpoint {final.name}; waiting for it"
                    ),
                    behind=shared,
                )
            elif shared is not None:
                shared.keep(final)
        except OSError as error:
            raise QuantizationError(
                f"The checkpoint folder {error.filename or final} cannot be used: "
                f"{error.strerror}.",
                remedy="Point ASSAY_CACHE to a folder you may write to, on a disk with room.",
            ) from error
        if not built:
            progress.say(f"reusing checkpoint {final.name}: same weights, recipe and conversations")
        record = _manifest(final)
        assert record.made is not None  # noqa: S101 -- it is one of ours
        card = samples.card if samples else None
        made = record.made.model_copy(update={"recipe": recipe, "calibration": card})
        # The same weights may have come from elsewhere before.
        origin = {"model": weights.id, "source": weights.source, "revision": weights.revision}
        return record.model_copy(update={"made": made, **origin}), not built

    def key(
        self,
        weights: Weights,
        recipe: RecipeT,
        samples: Calibration | None,
        environment: PythonEnvironment,
        versions: Mapping[str, str],
        device: Device,
        search_dtype: str,
    ) -> str:
        """Return the digest of all that decides the bytes of a checkpoint."""
        wanted = recipe.calibration
        return digest_of(
            {
                "protocol": PROTOCOL,
                "weights": weights.digest,
                "recipe": recipe.model_dump(mode="json", exclude={"calibration"}),
                # Fields that are left out are filled in by code that is not in the key.
                "words": self.deciding_words(recipe),
                "block": wanted and wanted.max_sequence_length,
                # The tokens, not the texts: which they are is up to libraries as well.
                "calibration": samples and [samples.card.fingerprint, digest_of(samples.token_ids)],
                "environment": environment.digest,
                "versions": dict(versions),
                "variables": matching(clean_environment()),
                "device": [device.kind, device.name, device.cores],
                "search": search_dtype,
                "code": code_digest(self.room, *_SHARED_CODE),
            }
        )

    def _samples(
        self, weights: Weights, wanted: CalibrationSpec, *, progress: Progress, **how: Any
    ) -> Calibration:
        settings = how["settings"]
        source = calibration_source.identity(wanted, settings)
        samples = calibration.prepare(
            weights.path, wanted, progress=progress, for_quantizer=self.cuts_blocks, **how
        )
        if source != calibration_source.identity(wanted, settings):
            source = None  # edited while it was read
        samples = replace(samples, card=samples.card.model_copy(update={"source": source}))
        _tell(samples, progress)
        return samples

    def _request(
        self,
        weights: Weights,
        recipe: RecipeT,
        samples: Calibration | None,
        output: Path,
        trust_remote_code: bool,
    ) -> Request:
        return Request(
            model=weights.path,
            output=output,
            safetensors=any(file.name.endswith(".safetensors") for file in weights.files),
            trust_remote_code=trust_remote_code,
            quantization=self.in_its_words(recipe),
            calibration=samples
            and Samples(
                token_ids=samples.token_ids,
                max_sequence_length=samples.card.spec.max_sequence_length,
            ),
        )


def _tell(samples: Calibration, progress: Progress) -> None:
    card = samples.card
    text = f"calibration: {card.used} of {card.read} conversations, {card.tokens_total} tokens"
    if card.dropped_too_long:
        text += (
            f"; {card.dropped_too_long} dropped, longer than {card.spec.max_sequence_length} tokens"
        )
    progress.say("; ".join([text, *card.remarks]))


def _complete(
    folder: Path, weights: Weights, quantization_config: dict[str, Any] | None, dtype: str
) -> None:
    """Give the checkpoint its model's own configuration, tokenizer and template.

    Word for word, not as the quantizer's older transformers would write them: the arms must
    differ in what the method changed and in nothing else.
    """
    (folder / "generation_config.json").unlink(missing_ok=True)  # some turn sampling on
    for file in weights.files:
        if not is_weight(file.name) and not file.name.endswith(".index.json"):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(weights.path / file.name, folder / file.name)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"torch_dtype": dtype}
    if quantization_config is not None:
        config["quantization_config"] = quantization_config
    if "dtype" in config:
        config["dtype"] = dtype
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _record(
    final: Path,
    partial: Path,
    weights: Weights,
    recipe: Recipe,
    samples: Calibration | None,
    response: Response,
    progress: Progress,
) -> Checkpoint:
    files = digests_below(partial, progress, skip=[MANIFEST])
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
            recipe=recipe,
            calibration=samples.card if samples else None,
            versions=response.versions,
            device=response.device or detect("cpu").name,
            search_dtype=response.search_dtype,
            seconds=response.seconds,
            peak_memory_bytes=response.peak_memory_bytes,
            facts=response.facts,
        ),
    )


def _manifest(folder: Path) -> Checkpoint:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    return Checkpoint.model_validate_json(text).model_copy(update={"path": folder})


def _believe(final: Path, progress: Progress) -> bool:
    """Return whether a whole checkpoint is there; put a damaged one aside."""
    used(final)
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
