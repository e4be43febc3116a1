"""Adapters (LoRA): files beside a model that are no weights of it, or all that a folder holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from infra.contracts.errors import WeightsError
from infra.models.place import Place

CONFIG = "adapter_config.json"
"""Beside a model it makes Transformers load another: the adapter's base, wherever that is."""

_WEIGHTS = re.compile(r"(adapters?|(pytorch_)?lora)([_.-][\w.-]*)?\.(safetensors|bin|pt|pth)")


def is_adapter(name: str) -> bool:
    """Return whether a file holds the weights of an adapter."""
    return _WEIGHTS.fullmatch(name) is not None


def refuse_alone(top: Sequence[str], place: Place) -> None:
    """Refuse an adapter without a model around it.

    Args:
        top: Names of the files beside one another, without those of any model's weights.
        place: Where they are; reads the adapter's configuration.

    Raises:
        WeightsError: It is one.
    """
    files = [name for name in sorted(top) if name == CONFIG or is_adapter(name)]
    if not files:
        return
    config = place.read_object(CONFIG) if CONFIG in files else {}
    found = config or {}
    base = found.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        why = f"{CONFIG} names its base model" if config is None else "it names no base model"
        raise WeightsError(
            f"{place.what} is an adapter ({', '.join(files)}) and no model by itself.",
            cause=f"Quantizer and engine need whole weights; {why}.",
            remedy="Merge it into its base model first, with the program that made it (peft: "
            "merge_and_unload), and set model.id to the folder of the merged model, with "
            "model.source=local.",
        )
    tokenizer = "." if "tokenizer_config.json" in top else base
    code = (
        "from peft import AutoPeftModelForCausalLM as Model; "
        "from transformers import AutoTokenizer as Tokenizer; "
        "Model.from_pretrained('.', torch_dtype='auto').merge_and_unload()"
        ".save_pretrained('merged'); "
        f"Tokenizer.from_pretrained({tokenizer!r}).save_pretrained('merged')"
    )
    command = place.command(f'python -c "{code}"')
    merged = "merged" if place.folder is None else str(place.folder / "merged")
    raise WeightsError(
        f"{place.what} is an adapter ({found.get('peft_type') or 'LoRA'}) of the model {base}, and "
        "no model by itself.",
        cause="Quantizer and engine need whole weights." + _elsewhere(base),
        remedy="Merge it first, in an environment with torch, transformers and peft "
        f"(pip install peft): {command}, "
        f"then set model.id to the folder {merged}, with model.source=local.",
    )


def _elsewhere(base: str) -> str:
    """Say that a base model is not where the adapter's configuration has it."""
    path = Path(base).expanduser()
    if (path.is_absolute() or base.startswith(".") or base.count("/") > 1) and not path.is_dir():
        return f" {base} is not here: correct base_model_name_or_path in {CONFIG} before merging."
    return ""
