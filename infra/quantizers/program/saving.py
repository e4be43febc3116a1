"""How tensors are saved: finite, and in files that are the same each time."""

import json
import os

SHARD = "1GB"
"""The most that one file holds: digests are computed, and files read, side by side."""


class NotFiniteError(Exception):
    """A tensor of the result is infinite or not a number."""


def check_finite(model, what):
    """Refuse a model with a tensor that is not finite.

    Args:
        model: A module of torch.
        what: What cannot hold such values, in words.

    Raises:
        NotFiniteError: It has one.
    """
    import torch

    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{name} holds values that {what} cannot hold")


def settle(file):
    """Write the metadata of a safetensors file in the order of its names, and let others read it.

    The library writes it in an order of chance: the same tensors would be another file each time.
    And it writes a temporary file first, which nobody but its owner may read.
    """
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        metadata = header.get("__metadata__", {})
        settled = header | {"__metadata__": dict(sorted(metadata.items()))}
        text = json.dumps(settled, separators=(",", ":"), ensure_ascii=False).encode()
        if metadata and len(text) <= length:
            stream.seek(8)
            stream.write(text.ljust(length))
