"""Serve a GGUF file with the server of llama.cpp that the package `xllamacpp` holds.

    LLAMA_API_KEY=… python -I -u serve_gguf.py --model FILE --port PORT [flags of llama-server]
    python -I serve_gguf.py --version

Runs in the engine's environment and imports nothing of ours. Flags have llama-server's own names,
so that a program `llama-server` takes the same command line; those alone are known that stand here.
The key that requests must carry comes by the environment: everybody can read a command line.

Prints the version as its first line, then llama.cpp's log. SIGTERM ends it.
"""

import argparse
import os
import signal
import sys
import time

_LOG_SECONDS = 0.5

TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""Of the key-value cache."""


def main():
    """Serve until somebody ends this process."""
    arguments = flags().parse_args()
    import xllamacpp

    print(f"version: {version(xllamacpp)}", flush=True)
    if arguments.version:
        return
    try:
        server = xllamacpp.Server(settings(xllamacpp, arguments))
    except (RuntimeError, ValueError) as error:
        # A thread of llama.cpp's writes its log, where the reason stands; it has no way to flush.
        time.sleep(_LOG_SECONDS)
        sys.exit(f"error: {error}")
    # The library would catch them, and wait for requests that are under way.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    print(f"listening on {server.listening_address}", flush=True)
    while True:
        signal.pause()


def flags():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m", "--model")
    parser.add_argument("-a", "--alias", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-c", "--ctx-size", type=int)
    parser.add_argument("-np", "--parallel", type=int)
    parser.add_argument("-ctk", "--cache-type-k", choices=TYPES)
    parser.add_argument("-ctv", "--cache-type-v", choices=TYPES)
    parser.add_argument("-fa", "--flash-attn", choices=("on", "off", "auto"))
    parser.add_argument("-lv", "--verbosity", type=int)
    parser.add_argument("-t", "--threads", type=int)
    parser.add_argument("-tb", "--threads-batch", type=int)
    parser.add_argument("--threads-http", type=int)
    parser.add_argument("-b", "--batch-size", type=int)
    parser.add_argument("-ub", "--ubatch-size", type=int)
    parser.add_argument("-ngl", "--n-gpu-layers", type=int)
    parser.add_argument("-cram", "--cache-ram", type=int)
    parser.add_argument("--rope-freq-base", type=float)
    parser.add_argument("--rope-freq-scale", type=float)
    parser.add_argument("--yarn-orig-ctx", type=int)
    parser.add_argument("--fit", choices=("on", "off"))
    parser.add_argument("--no-context-shift", action="store_true")
    parser.add_argument("--swa-full", action="store_true")
    parser.add_argument("--check-tensors", action="store_true")
    parser.add_argument("--no-cache-prompt", action="store_true")
    parser.add_argument("--no-repack", action="store_true")
    parser.add_argument("--no-warmup", action="store_true")
    parser.add_argument("--no-slots", action="store_true")
    parser.add_argument("--no-webui", action="store_true")
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--temp", type=float)
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--min-p", type=float)
    return parser


def settings(xllamacpp, arguments):
    """Return the server's parameters; what is not given stays as llama.cpp has it."""
    params = xllamacpp.CommonParams()
    if not arguments.model:
        sys.exit("error: --model is missing")
    params.model.path = arguments.model
    params.model_alias = {arguments.alias} if arguments.alias else set()
    params.hostnames = [arguments.host]
    params.port = arguments.port
    params.api_keys = [key] if (key := os.environ.get("LLAMA_API_KEY")) else []
    params.endpoint_metrics = arguments.metrics
    params.endpoint_slots = not arguments.no_slots
    params.ui = not arguments.no_webui
    params.offline = arguments.offline
    params.warmup = not arguments.no_warmup
    params.cache_prompt = not arguments.no_cache_prompt
    params.no_extra_bufts = arguments.no_repack
    params.swa_full = arguments.swa_full
    params.check_tensors = arguments.check_tensors
    if arguments.fit:
        params.fit_params = arguments.fit == "on"
    if arguments.no_context_shift:
        params.ctx_shift = False
    for name, owner, theirs in (
        ("ctx_size", params, "n_ctx"),
        ("parallel", params, "n_parallel"),
        ("verbosity", params, "verbosity"),
        ("threads_http", params, "n_threads_http"),
        ("batch_size", params, "n_batch"),
        ("ubatch_size", params, "n_ubatch"),
        ("n_gpu_layers", params, "n_gpu_layers"),
        ("cache_ram", params, "cache_ram_mib"),
        ("rope_freq_base", params, "rope_freq_base"),
        ("rope_freq_scale", params, "rope_freq_scale"),
        ("yarn_orig_ctx", params, "yarn_orig_ctx"),
        ("threads", params.cpuparams, "n_threads"),
        ("threads_batch", params.cpuparams_batch, "n_threads"),
        ("seed", params.sampling, "seed"),
        ("temp", params.sampling, "temp"),
        ("top_k", params.sampling, "top_k"),
        ("top_p", params.sampling, "top_p"),
        ("min_p", params.sampling, "min_p"),
    ):
        if (value := getattr(arguments, name)) is not None:
            setattr(owner, theirs, value)
    if arguments.cache_type_k:
        params.cache_type_k = cache_type(xllamacpp, arguments.cache_type_k)
    if arguments.cache_type_v:
        params.cache_type_v = cache_type(xllamacpp, arguments.cache_type_v)
    if arguments.flash_attn:
        named = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}[arguments.flash_attn]
        kinds = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = getattr(kinds, f"LLAMA_FLASH_ATTN_TYPE_{named}")
    return params


def cache_type(xllamacpp, name):
    """Return the number type that llama-server's flag names."""
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


def version(xllamacpp):
    """Return the package's version: the build that it embeds has none of its own."""
    return f"xllamacpp {xllamacpp.__version__}"


if __name__ == "__main__":
    main()
