"""Whether a checkpoint has all that its architecture needs, and how much of it is quantized.

Beside another checkpoint of the same architecture that is a comparison of names. Alone, blocks are
compared with each other: they are alike, or of a few kinds each of which occurs often.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from infra.contracts.records import Quantization
from infra.probes.triage.layers import Layers
from infra.probes.triage.targets import Targets
from infra.probes.triage.tensors import Tensor

_IN_BLOCK = re.compile(r"(?P<stack>.*?)\.(?P<number>\d+)\.(?P<rest>.+)")
_OTHER_STACKS = re.compile(r"vis|audio|speech|encoder|image|mtp|tower|projector", re.IGNORECASE)
_PREFIXES = ("model.", "language_model.", "transformer.", "text_model.", "module.", "base_model.")
_HEADS = ("lm_head", "output", "embed_out", "score")
_TIED = "lm_head.weight"
_ODD_BLOCKS = 0.25
"""Share of blocks up to which those that lack something are taken for broken ones."""


def core(name: str) -> str:
    """Return a tensor's name without what wrappers put before it: programs differ in that."""
    rest = name
    while (prefix := next((one for one in _PREFIXES if rest.startswith(one)), "")) and prefix:
        rest = rest.removeprefix(prefix)
    return rest


def renamed(baseline: Mapping[str, Tensor], ours: Iterable[str]) -> dict[str, Tensor]:
    """Return another checkpoint's tensors under our names where those differ only at the front.

    Args:
        baseline: Its tensors.
        ours: Names of our tensors, quantized ones as `….weight`.
    """
    names = set(ours)
    cores: dict[str, list[str]] = defaultdict(list)
    for name in names:
        cores[core(name)].append(name)
    found = {}
    for name, tensor in baseline.items():
        same = cores.get(core(name), [])
        found[same[0] if name not in names and len(same) == 1 else name] = tensor
    return found


def missing_beside(
    present: set[str], baseline: Mapping[str, Tensor], config: Mapping[str, Any]
) -> list[str]:
    """Return which tensors of another checkpoint of the same architecture are not here.

    Args:
        present: Names of our tensors, quantized ones as `….weight`.
        baseline: The other's tensors under our names.
        config: Our configuration.
    """
    blocks = _number_of_blocks(config)
    fused = any(".experts." in name and name.count(".") < _depth(baseline) for name in present)
    return [
        name
        for name, tensor in baseline.items()
        if is_required(tensor)
        and name not in present
        and not (name == _TIED and config.get("tie_word_embeddings"))
        # Blocks beyond the model's own predict further tokens; many leave them out.
        and not (blocks and (place := _IN_BLOCK.match(name)) and int(place["number"]) >= blocks)
        and not name.startswith("mtp.")
        and not (fused and ".experts." in name)
    ]


def missing_alone(
    tensors: Mapping[str, Tensor], layers: Layers, config: Mapping[str, Any]
) -> list[str]:
    """Return what is missing by what other blocks have and by what the configuration says."""
    stacks: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    plain = [name for name in tensors if name not in layers.belonging]
    for name in [*plain, *(f"{layer}.weight" for layer in layers.quantized)]:
        if (place := _IN_BLOCK.match(name)) and not name.endswith(".bias"):
            stacks[place["stack"]][int(place["number"])].add(place["rest"])
    own = [name for name in stacks if not _OTHER_STACKS.search(name)]
    found = []
    if own:
        stack = max(own, key=lambda name: len(stacks[name]))
        found += _missing_blocks(stack, stacks[stack], config)
        if "block_configs" not in config:  # of models that were pruned block by block
            found += _odd_blocks(stack, stacks[stack], config)
    return found + _missing_ends(tensors, layers, config)


def _missing_blocks(stack: str, blocks: Mapping[int, Any], config: Mapping[str, Any]) -> list[str]:
    wanted = max(_number_of_blocks(config) or 0, max(blocks) + 1)
    return [f"{stack}.{number}" for number in range(wanted) if number not in blocks]


def _odd_blocks(stack: str, blocks: Mapping[int, set[str]], config: Mapping[str, Any]) -> list[str]:
    """Return what some few blocks lack that all others of their type have."""
    types = _text(config).get("layer_types")
    types = types if isinstance(types, list) else []
    by_type: dict[Any, list[int]] = defaultdict(list)
    for number in blocks:
        by_type[str(types[number]) if number < len(types) else ""].append(number)
    found = []
    for numbers in by_type.values():
        usual = Counter(frozenset(blocks[number]) for number in numbers).most_common(1)[0][0]
        odd = [number for number in numbers if blocks[number] < usual]
        if len(odd) <= _ODD_BLOCKS * len(numbers):
            found += [f"{stack}.{n}.{part}" for n in sorted(odd) for part in usual - blocks[n]]
    return sorted(found)


def _missing_ends(
    tensors: Mapping[str, Tensor], layers: Layers, config: Mapping[str, Any]
) -> list[str]:
    """Return whether embeddings or the head are missing."""
    vocabulary = _text(config).get("vocab_size", config.get("vocab_size"))
    if not isinstance(vocabulary, int):
        return []
    shapes = {name.removesuffix(".weight"): tensor.shape for name, tensor in tensors.items()}
    shapes |= {name: layer.shape for name, layer in layers.all.items() if layer.shape}
    wide = {name for name, shape in shapes.items() if shape[:1] >= (vocabulary,)}
    heads = {name for name in {*shapes, *layers.all} if _is_head(name)}
    found = [] if wide - heads else [f"embeddings of {vocabulary} tokens"]
    if config.get("tie_word_embeddings") is False and not heads and len(wide) < 2:
        found.append("lm_head")
    return found


def _is_head(name: str) -> bool:
    return core(name).partition(".")[0] in _HEADS


def share(layers: Layers, quantization: Quantization, whole: int) -> str:
    """Say how many of the linear layers are quantized, and which are left.

    Args:
        layers: All of the checkpoint.
        quantization: What it says of itself.
        whole: Numbers in all of its other tensors, that are no linear layer of a block.
    """
    quantized, left = layers.quantized, layers.left
    inside = sum(layer.numbers for layer in quantized.values())
    outside = sum(layer.numbers for layer in left.values())
    total = max(1, inside + outside)
    text = (
        f"{len(quantized)} of {len(quantized) + len(left)} linear layers, {inside / total:.1%} of "
        f"their weights and {inside / max(1, total + whole):.1%} of all"
    )
    if not left:
        return text
    ignored = Targets(quantization.ignored)
    unnamed = [name for name in left if not ignored.has(name, anywhere=True)]
    kinds = Counter(re.sub(r"\.\d+(?=\.|$)", ".*", name) for name in left)
    shown = [f"{kind} ({n})" if n > 1 else kind for kind, n in kinds.most_common(3)]
    more = f" and {len(kinds) - 3} more kinds" if len(kinds) > 3 else ""
    text += f"; left: {', '.join(shown)}{more}"
    if unnamed:
        text += f"; the configuration does not name {len(unnamed)} of them"
    return text


def is_required(tensor: Tensor) -> bool:
    """Tell whether a checkpoint has to have it: no table or mask that models compute anew."""
    return len(tensor.shape) in (1, 2) and tensor.name.endswith((".weight", ".bias"))


def _depth(baseline: Mapping[str, Tensor]) -> int:
    """Return how many dots the names of single experts' weights have; 0 if there are none."""
    return min((n.count(".") for n in baseline if re.search(r"\.experts\.\d+\.", n)), default=0)


def _number_of_blocks(config: Mapping[str, Any]) -> int | None:
    for name in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        if isinstance(found := _text(config).get(name), int):
            return found
    return None


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config
