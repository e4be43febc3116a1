"""Weights and datasets, from a hub or a folder: whole and verified, or one clear error.

Mirrors, proxies and tokens are those of the hubs' own clients (`HF_ENDPOINT`, `HF_TOKEN`,
`MODELSCOPE_ENDPOINT`, `MODELSCOPE_API_TOKEN`, a stored login); no record holds any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.contracts.errors import WeightsError
from infra.contracts.progress import Progress, Silent
from infra.contracts.records import Checkpoint, FileDigest, Weights
from infra.contracts.specs import ModelSpec
from infra.models import quantization
from infra.models.file_digests import cached_digests
from infra.models.files import choose, is_weight, refuse_adapter_alone
from infra.models.folder import ModelFolder, inspect
from infra.models.hubs.hub import Repository, Source
from infra.models.hubs.snapshots import fetch_snapshot
from infra.models.place import in_folder, on_hub
from infra.models.view import view
from infra.store.content import digest_files, digest_of
from infra.store.settings import Settings


def fetch(spec: ModelSpec, *, settings: Settings, progress: Progress) -> Weights:
    """Return the weights a spec names, downloaded if need be.

    A hub's commit lies in `settings.weights/<source>/<owner>--<name>/<commit>`, the same for
    every run. An interrupted download goes on where it stopped. A commit that is here needs no
    network; a branch that is here is used as last seen if the hub does not answer.

    Args:
        spec: Which model. Safetensors only, and no Python files, unless it says otherwise.
        settings: Where downloads are kept.
        progress: Hears of bytes once a second.

    Raises:
        HubUnreachable: No answer from the hub.
        RepositoryNotFound: No such repository or revision for this token.
        GatedRepository: Access has to be asked for; the message says where.
        UnsafeWeights: There are only pickles, or the model needs code of its own.
        CorruptWeights: A file is missing, truncated, or not what the hub lists.
        WeightsError: The folder or the disk will not do.
    """
    if spec.source == "local":
        return inspect_spec(spec, settings=settings, progress=progress)
    folder, snapshot = fetch_snapshot(
        Repository(spec.source, "model", spec.id),
        spec.revision,
        settings.weights,
        choose=lambda names, folder: choose(
            names,
            on_hub(spec, folder),
            allow_pickle=spec.allow_pickle,
            trust_remote_code=spec.trust_remote_code,
        ),
        late=is_weight,
        check=lambda folder, names: _check(folder, names, spec),
        progress=progress,
    )
    names = [file.name for file in snapshot.files]
    facts = _check(folder, names, spec)
    there = view(folder, _names(folder), names, settings)
    return _weights(there, spec, snapshot.revision, snapshot.files, facts)


def as_it_came(weights: Weights) -> Checkpoint:
    """Return weights as the checkpoint that an arm serves, quantized or not."""
    said = quantization.stated(weights.path)
    return Checkpoint(
        path=weights.path,
        digest=weights.digest,
        files=weights.files,
        size_bytes=weights.size_bytes,
        model=weights.id,
        source=weights.source,
        revision=weights.revision,
        quantization_config=dict(said.values) if said else None,
    )


def inspect_spec(
    spec: ModelSpec, *, settings: Settings, progress: Progress | None = None
) -> Weights:
    """Return the weights in the folder that a spec of a local model names; see `inspect_local`."""
    return inspect_local(
        Path(spec.id),
        settings=settings,
        progress=progress,
        allow_pickle=spec.allow_pickle,
        trust_remote_code=spec.trust_remote_code,
    )


def inspect_local(
    path: Path,
    *,
    settings: Settings,
    progress: Progress | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Weights:
    """Return the weights in a folder, which is looked at and not copied.

    Digests are remembered in `settings.weights/local` as long as a file has its mark (see
    `infra.store.content.mark`), so that only the first run on a large model reads all of it.

    Args:
        path: The folder.
        settings: Where digests are remembered.
        progress: Hears of bytes while digests are computed.
        allow_pickle: Take pickled weights where there are no others.
        trust_remote_code: Count Python files, and take models that need them.

    Raises:
        CorruptWeights: A file is missing, truncated or unreadable.
        UnsafeWeights: There are only pickles, or the model needs code of its own.
        WeightsError: There is no such folder, or it holds no weights.
    """
    folder = path.expanduser().resolve()
    spec = ModelSpec(
        id=str(path),
        source="local",
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    if not folder.is_dir():
        raise WeightsError(
            f"{path} is no folder." if folder.exists() else f"There is no folder {path}.",
            remedy="Set model.id to a folder with a model, or model.source to a hub.",
        )
    place = in_folder(folder, str(path))
    memory = settings.weights / "local" / f"{digest_of(str(folder))}.json"
    try:
        top = [file.name for file in folder.iterdir()]
        if "config.json" not in top:  # before looking through what may be a whole disk
            refuse_adapter_alone(top, place)
            place.lacks("config.json")
        there = _names(folder)
        names = choose(there, place, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
        facts = inspect(folder, names, place, trust_remote_code=trust_remote_code)
        files = cached_digests(folder, names, memory, progress or Silent())
    except OSError as error:
        raise WeightsError(
            f"{error.filename or folder} cannot be read: {error.strerror or error}.",
            remedy="Let this user read the folder and all its files.",
        ) from error
    return _weights(view(folder, there, names, settings), spec, None, files, facts)


def fetch_dataset(
    source: Source, id: str, revision: str | None, *, settings: Settings, progress: Progress
) -> Path:
    """Return a folder with a dataset repository's files, downloaded if need be.

    It lies in `settings.datasets/<source>/<owner>--<name>/<commit>` and is whole: the rules are
    those of `fetch`. Python files stay out: nobody runs a dataset's code here.

    Args:
        source: Hub.
        id: Repository id there.
        revision: Branch, tag or commit; the hub's default branch if none.
        settings: Where downloads are kept.
        progress: Hears of bytes once a second.

    Raises:
        WeightsError: As for `fetch`, or the repository holds no files.
    """
    repository = Repository(source, "dataset", id)

    def rows(names: Sequence[str], folder: Path | None) -> list[str]:
        found = [
            name
            for name in names
            if not name.endswith(".py")
            and not any(part.startswith(".") for part in name.split("/"))
        ]
        if not found:
            raise WeightsError(
                f"{repository} holds no data files.",
                remedy="Take a dataset that holds its rows as files, not as a script.",
            )
        return found

    return fetch_snapshot(repository, revision, settings.datasets, choose=rows, progress=progress)[
        0
    ]


def _check(folder: Path, names: Sequence[str], spec: ModelSpec) -> ModelFolder:
    place = on_hub(spec, folder)
    return inspect(folder, names, place, trust_remote_code=spec.trust_remote_code)


def _names(folder: Path) -> list[str]:
    """Return all files below a folder, with forward slashes; also links that lead nowhere."""
    return [
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() or file.is_symlink()
    ]


def _weights(
    folder: Path,
    spec: ModelSpec,
    revision: str | None,
    files: tuple[FileDigest, ...],
    facts: ModelFolder,
) -> Weights:
    return Weights(
        path=folder,
        source=spec.source,
        id=spec.id,
        revision=revision,
        files=files,
        digest=digest_files(files),
        architecture=facts.architecture,
        size_bytes=sum(file.size for file in files if file.name in facts.weight_files),
    )
