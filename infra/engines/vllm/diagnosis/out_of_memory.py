"""Failures for want of memory."""

from __future__ import annotations

from infra.engines.diagnosis.patterns import Failure
from infra.engines.vllm.diagnosis.changes import eager, shorter_window, smaller_fraction

_OUT_OF_MEMORY = (
    r"can't allocate memory: you tried to allocate (?P<size>\d+ bytes)",
    r"OutOfMemoryError: \w+ out of memory\. Tried to allocate (?P<size>[\d.]+ [KMGT]iB)",
)
_WEIGHTS_COME = r"Starting to load model|\bin (?:load_model|create_weights)\b"
"""Not every version says that it begins with them; that it was at it stands in the trace."""
_WEIGHTS_ARE_IN = r"(?:Loading weights|Model loading) took"
"""Those that are no plain files are read by others, of whom some say the second alone."""


MEMORY = (
    Failure(
        name="kv-cache-too-small",
        patterns=(
            r"max seq len \((?P<wanted>\d+)\)[^\n]*maximum model length is (?P<fits>[1-9]\d*)",
        ),
        fact="The key-value cache has no room for one request of {wanted} tokens.",
        cause="The engine estimates that the memory left beside the weights holds {fits} tokens.",
        remedy="Set serving.max_model_len to {fits}, or give the engine more memory with "
        "serving.memory_fraction.",
        field="serving.max_model_len",
        adjust=shorter_window,
    ),
    Failure(
        name="no-memory-for-cache",
        patterns=(
            r"No available memory for the cache blocks",
            r"on kv cache allocation is less than requested memory for kv",
            r"KV cache is needed(?![^\n]*maximum model length is [1-9])",
        ),
        fact="No memory is left for the key-value cache.",
        cause="Weights and working memory take the whole share that the engine may have, "
        "or more than that is asked for.",
        remedy="Raise serving.memory_fraction, end other users of the device, or take a device "
        "with more memory.",
        field="serving.memory_fraction",
        adjust=eager,
    ),
    Failure(
        name="memory-fraction-refused",
        patterns=(
            r"memory on (?:device|node) \S+ \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup "
            r"is less than desired \w+ memory utilization \((?P<wanted>[\d.]+)",
        ),
        fact="The engine may take {wanted} of the device's {total} GiB, but only {free} are free.",
        cause="Other processes hold the rest.",
        remedy="Lower serving.memory_fraction, or end the other processes.",
        field="serving.memory_fraction",
        adjust=smaller_fraction,
    ),
    Failure(
        name="weights-do-not-fit",
        patterns=_OUT_OF_MEMORY,
        needs=_WEIGHTS_COME,
        never=_WEIGHTS_ARE_IN,
        fact="The weights do not fit into memory: {size} more were refused.",
        cause="The model is too large for this device, or others hold its memory.",
        remedy="Share the model over more GPUs with serving.tensor_parallel_size, take a smaller "
        "model, or take a device with more memory.",
        field="serving.tensor_parallel_size",
    ),
    Failure(
        name="no-memory-for-batches",
        patterns=_OUT_OF_MEMORY,
        needs=rf"\A(?![\s\S]*(?:{_WEIGHTS_COME}))|{_WEIGHTS_ARE_IN}",
        fact="The engine has no memory for the tokens that it computes at once: {size} more were "
        "refused.",
        cause="It reserves room for as many as it may ever take, beside the weights; while it "
        "answers, another program on the device may take what is left.",
        remedy='End other users of the device, or put "--max-num-batched-tokens", "2048" into '
        "serving.extra_args, or a smaller number where it stands there already.",
        field="serving.extra_args",
    ),
    Failure(
        name="killed",
        patterns=(),
        exit_code=128 + 9,
        fact="The engine was killed from outside, without a word.",
        cause="The kernel kills the largest process when memory runs out; `dmesg` tells.",
        remedy="Lower serving.memory_fraction, end other processes, or take a machine with more "
        "memory.",
        field="serving.memory_fraction",
    ),
    Failure(
        name="engine-process-killed",
        patterns=(r"Engine core initialization failed", r"EngineDeadError: EngineCore encounter"),
        never=r"failed to start\.|encountered a fatal error|EngineCore died of",
        fact="The engine's inner process was killed from outside, without a word.",
        cause="The kernel kills the largest process when memory runs out; `dmesg` tells.",
        remedy="Lower serving.memory_fraction, end other processes, or take a machine with more "
        "memory.",
        field="serving.memory_fraction",
    ),
    Failure(
        name="shared-memory-too-small",
        patterns=(
            r"Insufficient space in /dev/shm[^\n]*: (?P<needed>\d+ MiB) required, "
            r"(?P<free>\d+ MiB) free",
        ),
        fact="The engine's processes need {needed} of shared memory; {free} are free.",
        cause="Containers get little of it by default.",
        remedy="Start the container with --shm-size=8g or --ipc=host, or clear /dev/shm.",
    ),
)
