"""A model's tokenizer without its weights, for whoever asks a model that runs elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.contracts.errors import WeightsError
from infra.contracts.progress import Progress
from infra.contracts.specs import ModelSpec
from infra.models import tokenizer
from infra.models.hubs.hub import Repository
from infra.models.hubs.snapshots import fetch_snapshot
from infra.store.settings import Settings

_TEXTS = (".json", ".txt", ".model", ".tiktoken", ".jinja")
_WEIGHTS = (".index.json",)


def fetch_tokenizer(spec: ModelSpec, *, settings: Settings, progress: Progress) -> Path:
    """Return a folder with the tokenizer and the chat template of a model, loadable.

    Of a hub's repository the small files of its top level are downloaded, and no weights.

    Args:
        spec: Which model.
        settings: Where downloads are kept.
        progress: Hears of bytes once a second.

    Raises:
        WeightsError: It cannot be had, or is no tokenizer.
    """
    if spec.source == "local":
        folder = Path(spec.id).expanduser().absolute()
        if not folder.is_dir():
            raise WeightsError(
                f"There is no folder {folder}.",
                cause="endpoint.tokenizer names it, with the source 'local'.",
                remedy="Correct endpoint.tokenizer.id, or set endpoint.tokenizer.source to a hub.",
            )
    else:
        folder, _ = fetch_snapshot(
            Repository(spec.source, "model", spec.id),
            spec.revision,
            settings.cache / "tokenizers",
            choose=lambda names, folder: _chosen(names, spec),
            progress=progress,
        )
    try:
        tokenizer.load(folder, trust_remote_code=spec.trust_remote_code)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise WeightsError(
            f"The tokenizer in {folder} cannot be loaded: {str(error)[:200]}",
            cause="The folder holds none, or one of a kind that transformers does not know.",
            remedy="Name a folder or repository with the model's own tokenizer in "
            "endpoint.tokenizer; or leave it out, and prompts are sent as text.",
        ) from None
    return folder


def _chosen(names: Sequence[str], spec: ModelSpec) -> list[str]:
    top = [name for name in names if "/" not in name and not name.startswith(".")]
    texts = [name for name in top if name.endswith(_TEXTS) and not name.endswith(_WEIGHTS)]
    code = [name for name in top if name.endswith(".py")] if spec.trust_remote_code else []
    if not texts:
        raise WeightsError(
            f"{spec.id} holds no tokenizer.",
            remedy="Name a repository with the model's own tokenizer in endpoint.tokenizer.",
        )
    return texts + code
