"""Which variables may change what a program computes on this machine, whatever program it is."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

COMPUTING = (
    *("TORCH*", "PYTORCH_*", "TRITON_*", "CUDA_*", "NVIDIA_*"),
    *("NCCL_*", "NVSHMEM_*"),
    *("OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*", "LD_PRELOAD", "LD_LIBRARY_PATH"),
)
"""Variables of the libraries that compute, and of those that are loaded in their place."""

NOT_COMPUTING = (
    "*_CACHE_DIR",
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    "NVIDIA_DRIVER_CAPABILITIES",
    "NCCL_SOCKET_IFNAME",
)
"""Of these, places, which of equal devices is taken, and where its processes find each other."""


def matching(
    given: Mapping[str, str],
    patterns: tuple[str, ...] = COMPUTING,
    but: tuple[str, ...] = NOT_COMPUTING,
) -> dict[str, str]:
    """Return the variables whose name matches a pattern, without those that match another.

    Args:
        given: Variables with values.
        patterns: Names that count, with `*` as a wildcard.
        but: Names that do not.
    """

    def among(name: str, those: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in those)

    return {k: v for k, v in given.items() if among(k, patterns) and not among(k, but)}
