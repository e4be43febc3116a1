"""LoRA adapters: fetched, looked at before anything is loaded, held against their model.

An adapter is a folder as peft writes it: `adapter_config.json` beside `adapter_model.safetensors`,
with two matrices for each layer that it changes, A [rank, inputs] and B [outputs, rank]. What it
adds to a layer's weight is B A times alpha / rank (Hu et al. 2021, arXiv:2106.09685).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import CorruptWeights, UnsafeWeights, WeightsError
from infra.contracts.progress import Progress
from infra.contracts.records import Adapter, Checkpoint, FileDigest, Weights
from infra.contracts.specs import AdapterSpec
from infra.models import safetensors_header
from infra.models.adapters import CONFIG
from infra.models.file_digests import cached_digests, hash_files
from infra.models.hubs.hub import Repository
from infra.models.hubs.snapshots import fetch_snapshot
from infra.models.place import in_folder
from infra.store.content import build_once, digest_files, digest_of
from infra.store.settings import Settings

WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_PART = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<which>[AB])(?:\.\w+)?\.weight")


def fetch(spec: AdapterSpec, *, settings: Settings, progress: Progress) -> Adapter:
    """Return the adapter that a spec names, downloaded if need be.

    Args:
        spec: Which one.
        settings: Where downloads and digests are kept.
        progress: Hears of bytes.

    Raises:
        HubUnreachable: No answer from the hub.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: Access has to be asked for.
        UnsafeWeights: Its weights are a pickle.
        CorruptWeights: A file is missing or not what it should be.
        WeightsError: It is no LoRA adapter, or of a kind that nobody here applies.
    """
    if spec.source == "local":
        return _own(inspect_local(spec, settings=settings, progress=progress), settings, progress)
    folder, snapshot = fetch_snapshot(
        Repository(spec.source, "model", spec.id),
        spec.revision,
        settings.weights / "adapters",
        choose=lambda names, there: _choose(names, spec.id),
        progress=progress,
    )
    return _adapter(spec, folder, snapshot.files, snapshot.revision)


def inspect_local(spec: AdapterSpec, *, settings: Settings, progress: Progress) -> Adapter:
    """Return the adapter in a folder, which is looked at and not copied; see `fetch`."""
    folder = Path(spec.id).expanduser().resolve()
    if not folder.is_dir():
        raise WeightsError(
            f"{spec.id} is no folder." if folder.exists() else f"There is no folder {spec.id}.",
            remedy="Set adapter.id to a folder with an adapter, or adapter.source to a hub.",
        )
    memory = settings.weights / "local" / f"{digest_of(str(folder))}-adapter.json"
    try:
        names = _choose([file.name for file in folder.iterdir()], spec.id)
        files = cached_digests(folder, names, memory, progress)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or folder} cannot be read: {error.strerror or error}.",
            remedy="Let this user read the folder and all its files.",
        ) from error
    return _adapter(spec, folder, files, None)


def _own(found: Adapter, settings: Settings, progress: Progress) -> Adapter:
    """Return a copy: who still trains may write the folder anew while a run goes on.

    Raises:
        CorruptWeights: It was written while it was copied.
    """
    kept = (settings.weights / "adapters" / "local" / found.digest[:32]).absolute()

    def copy(partial: Path) -> None:
        for file in found.files:
            shutil.copyfile(found.path / file.name, partial / file.name)

    build_once(kept, copy)
    hashed = hash_files(kept, [file.name for file in found.files], progress)
    if any(hashed[file.name][0] != file.sha256 for file in found.files):
        shutil.rmtree(kept, ignore_errors=True)
        raise CorruptWeights(
            f"Adapter {found.id} changed while it was copied.",
            cause="Somebody writes to its folder.",
            remedy="Wait until that is done, or set adapter.id to a folder that stays as it is.",
        )
    return found.model_copy(update={"path": kept})


def check_fits(adapter: Adapter, weights: Weights) -> None:
    """Refuse an adapter of another model: layers that are not there, or of other sizes.

    Reads headers alone. Of a model that is quantized already sizes are not compared: its layers
    have other parts.

    Raises:
        WeightsError: It does not fit.
    """
    sizes = {
        name.removesuffix(".weight"): tensor.shape
        for file in weights.files
        if file.name.endswith(".safetensors")
        for name, tensor in safetensors_header.read(weights.path / file.name).items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    packed = any(
        name.endswith((".qweight", ".weight_packed"))
        for file in weights.files
        if file.name.endswith(".safetensors")
        for name in safetensors_header.read(weights.path / file.name)
    )
    if packed or not sizes:
        return
    for layer, (inputs, outputs) in sorted(_layers(adapter.path).items()):
        if layer not in sizes:
            raise WeightsError(
                f"Adapter {adapter.id} changes {layer}, which {weights.id} has not.",
                cause=_made_for(adapter),
                remedy="Set adapter.id to an adapter of this model, or model.id to its own.",
            )
        if sizes[layer] != (outputs, inputs):
            raise WeightsError(
                f"Adapter {adapter.id} has {outputs} × {inputs} for {layer}; {weights.id} has "
                f"{' × '.join(map(str, sizes[layer]))}.",
                cause=_made_for(adapter),
                remedy="Set adapter.id to an adapter of this model, or model.id to its own.",
            )


def applied(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """Return a checkpoint with the adapter that was put on it or merged into it."""
    return checkpoint.model_copy(update={"adapter": adapter})


def as_weights(checkpoint: Checkpoint, original: Weights) -> Weights:
    """Return what came of a merging as the weights that others are made from.

    Args:
        checkpoint: The whole model with the adapter in it.
        original: The model that it was put on.
    """
    return original.model_copy(
        update={
            "path": checkpoint.path,
            "files": checkpoint.files,
            "digest": checkpoint.digest,
            "size_bytes": checkpoint.size_bytes,
        }
    )


def _made_for(adapter: Adapter) -> str:
    base = adapter.base_model
    return f"It was trained on {base}." if base else "It was trained on another model."


def _choose(names: Sequence[str], what: str) -> list[str]:
    if CONFIG not in names:
        raise CorruptWeights(
            f"{what} has no {CONFIG}.",
            cause="It is no adapter as peft writes it.",
            remedy="Set adapter.id to the folder or repository that holds it.",
        )
    if WEIGHTS not in names:
        if _PICKLED in names:
            raise UnsafeWeights(
                f"Adapter {what} has its weights only as a pickle ({_PICKLED}).",
                cause="A pickle can run any code when it is loaded.",
                remedy="Save it again as safetensors with peft (save_pretrained), and name that.",
            )
        raise CorruptWeights(
            f"{what} has no {WEIGHTS}.",
            cause="It is no adapter as peft writes it, or not a whole one.",
            remedy="Copy or download it again.",
        )
    return [CONFIG, WEIGHTS]


def _adapter(
    spec: AdapterSpec, folder: Path, files: tuple[FileDigest, ...], revision: str | None
) -> Adapter:
    config = in_folder(folder, spec.id).read_object(CONFIG) or {}
    layers = _layers(folder)
    if not layers:
        raise WeightsError(
            f"Adapter {spec.id} changes no layer.",
            cause=f"{WEIGHTS} holds no matrices named lora_A and lora_B.",
            remedy="Set adapter.id to a LoRA adapter as peft writes it.",
        )
    _check_kind(spec, config)
    base = config.get("base_model_name_or_path")
    return Adapter(
        path=folder,
        source=spec.source,
        id=spec.id,
        revision=revision,
        files=files,
        digest=digest_files(files),
        size_bytes=sum(file.size for file in files if file.name == WEIGHTS),
        rank=max(_ranks(folder)),
        base_model=base if isinstance(base, str) and base else None,
        merged=spec.merge,
    )


def _check_kind(spec: AdapterSpec, config: Mapping[str, Any]) -> None:
    kind = str(config.get("peft_type") or "LORA").upper()
    if kind != "LORA":
        raise WeightsError(
            f"Adapter {spec.id} is of the kind {kind}.",
            cause="LoRA adapters are applied and merged here, and no others.",
            remedy="Merge it with the program that made it, and name the merged model as model.id.",
        )
    saved = config.get("modules_to_save")
    beside = {
        "DoRA (use_dora)": config.get("use_dora"),
        f"whole layers ({', '.join(map(str, saved or ()))})": saved,
        f"biases (bias={config.get('bias')})": config.get("bias") not in (None, "none"),
    }
    if not spec.merge and (what := [name for name, there in beside.items() if there]):
        raise WeightsError(
            f"Adapter {spec.id} brings {' and '.join(what)}.",
            cause="The engine applies the two matrices of each layer and nothing else.",
            remedy="Set adapter.merge to true.",
        )


def _layers(folder: Path) -> dict[str, tuple[int, int]]:
    """Return layer → inputs and outputs.

    Raises:
        CorruptWeights: A layer has one of its matrices alone, or of two ranks.
    """
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in safetensors_header.read(folder / WEIGHTS).items():
        if match := _PART.fullmatch(name):
            found.setdefault(match["layer"], {})[match["which"]] = tensor.shape
    layers = {}
    for layer, parts in found.items():
        a, b = parts.get("A"), parts.get("B")
        if a is None or b is None or len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            raise CorruptWeights(
                f"{folder / WEIGHTS} has no two matrices for {layer} that fit each other.",
                cause=f"A is {a}, B is {b}.",
                remedy="Copy or download it again.",
            )
        layers[layer] = (a[1], b[0])
    return layers


def _ranks(folder: Path) -> list[int]:
    return [
        tensor.shape[0]
        for name, tensor in safetensors_header.read(folder / WEIGHTS).items()
        if (match := _PART.fullmatch(name)) and match["which"] == "A"
    ]
