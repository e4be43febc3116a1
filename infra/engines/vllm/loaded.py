"""vLLM's API server, loaded before anybody knows what it shall serve.

    python -I -u loaded.py [ARCHITECTURE …] DESCRIPTOR

Runs in the engine's environment; nothing of Assay is there. It imports what the server imports, has
vLLM look at the classes of models that will be served, says through the socket for how many seconds
it did, and waits. One message tells it what to do: arguments, variables and the log, with the locks
of its accelerators, which it keeps open as long as it lives. From then on it is what

    python -I -u -m vllm.entrypoints.openai.api_server ARGUMENT …

is. It ends when whoever has started it is gone. Loading must leave the GPU driver alone: which GPUs
a process sees is settled when that is first used. Where it was used, this ends instead.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import socket
import sys
import time

SERVER = "vllm.entrypoints.openai.api_server"
MOST_BYTES = 1 << 20
MOST_LOCKS = 64
NOT_INITIALIZED = 3
"""`CUDA_ERROR_NOT_INITIALIZED`"""


def load(architectures: list[str]) -> None:
    """Import the server, and find out what vLLM wants to know of models: it keeps what it finds."""
    importlib.import_module(SERVER)
    with contextlib.suppress(Exception):  # it looks itself, where this is called otherwise
        registry = importlib.import_module("vllm.model_executor.models.registry").ModelRegistry
        for name in architectures:
            registry._try_inspect_model_cls(name)


def uses_gpu() -> bool:
    """Return whether this process has begun to use the GPU driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return bool(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != NOT_INITIALIZED)


def main() -> int:
    """Load, wait, serve."""
    began = time.monotonic()
    with socket.socket(fileno=int(sys.argv[-1])) as channel:
        channel.set_inheritable(False)
        load(sys.argv[1:-1])
        if uses_gpu():
            print("loading has used the GPU driver; a server is started as ever", flush=True)
            return 1
        channel.send(f"{time.monotonic() - began:.2f}".encode())
        message, locks, _, _ = socket.recv_fds(channel, MOST_BYTES, MOST_LOCKS)
    if not message:
        return 0
    for lock in locks:  # by whatever it starts too
        os.set_inheritable(lock, True)
    told = json.loads(message)
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.environ.update(told["environment"])
    sys.argv[1:] = told["arguments"]
    del sys.modules[SERVER]  # it runs as the main module now
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
