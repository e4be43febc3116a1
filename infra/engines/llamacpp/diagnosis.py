"""The failures of llama.cpp's server that are recognized."""

from __future__ import annotations

from infra.engines.diagnosis.patterns import Failure, Table
from infra.engines.llamacpp import log

_SHORTER = (
    "Set serving.max_model_len to less, lower evaluation.concurrency, or take a machine with more "
    "memory."
)

FAILURES = (
    Failure(
        name="port-taken",
        patterns=(r"couldn't bind HTTP server socket",),
        fact="The port was taken while the server started.",
        cause="Another process began to listen on it in between.",
        remedy="Run again; leave serving.port empty, so that a free one is found.",
        field="serving.port",
    ),
    Failure(
        name="no-weights",
        patterns=(r"failed to open GGUF file '(?P<path>[^']*)'",),
        fact="There are no weights in {path}.",
        cause="The folder holds no model.gguf: it was not made for llama.cpp, or was emptied "
        "meanwhile.",
        remedy="Name a folder with a model.gguf (model.id), or serve it with another engine.",
        field="model.id",
    ),
    Failure(
        name="not-gguf",
        patterns=(
            r"invalid magic characters: (?P<what>'[^']*')",
            r"(?P<what>failed to read magic)",
        ),
        fact="The file with weights is no GGUF file: {what}.",
        cause="A download was cut off at its beginning, or it is of another format.",
        remedy="Fetch or make the file again; model.revision names another state.",
        field="model.revision",
    ),
    Failure(
        name="gguf-of-another-version",
        patterns=(r"this GGUF file is version (?P<what>\d+)",),
        fact="The GGUF file is of version {what}, which this llama.cpp does not read.",
        cause="It was written by a newer one, or is damaged.",
        remedy="Make it again with the converter that Assay locks, or let serving.python name a "
        "newer llama-server.",
        field="serving.python",
    ),
    Failure(
        name="weights-unreadable",
        patterns=(
            r"tensor '(?P<what>[^']*)' data is not within the file bounds",
            r"tensor '(?P<what>[^']*)' not found",
            r"(?P<what>\S+) has wrong shape",
        ),
        fact="The GGUF file is damaged or not whole: {what}.",
        cause="A download or a copy was cut off, or its conversion failed halfway.",
        remedy="Fetch or make the file again; model.revision names another state.",
        field="model.revision",
    ),
    Failure(
        name="architecture-unknown",
        patterns=(r"unknown model architecture: '(?P<what>[^']*)'",),
        fact="llama.cpp does not know the architecture {what}.",
        cause="The model is newer than this llama.cpp, or of a kind that it does not serve.",
        remedy="Take another model (model.id), or let serving.python name a newer llama-server.",
        field="model.id",
    ),
    Failure(
        name="tokenizer-unknown",
        patterns=(
            r"unknown pre-tokenizer type: '(?P<what>[^']*)'",
            r"unknown tokenizer: '(?P<what>[^']*)'",
        ),
        fact="llama.cpp does not know the tokenizer {what}.",
        cause="The file was converted by a newer converter, or the tokenizer is of no known kind.",
        remedy="Make the file again with the converter that Assay locks.",
        field="model.id",
    ),
    Failure(
        name="no-memory-for-cache",
        patterns=(
            r"failed to allocate buffer for kv cache",
            r"failed to allocate compute [pt][pg] buffers",
        ),
        fact="No memory is left for the key-value cache.",
        cause="Each question in flight gets room for a whole window.",
        remedy=_SHORTER,
        field="serving.max_model_len",
    ),
    Failure(
        name="weights-do-not-fit",
        patterns=(r"unable to allocate \S+ buffer", r"failed to allocate \S+ buffer of size"),
        never=r"failed to initialize the context",
        fact="The weights do not fit into memory.",
        cause="The model is too large for this machine, or others hold its memory.",
        remedy="Take a smaller model or a smaller type of quantization, or a machine with more "
        "memory.",
        field="model.id",
    ),
    Failure(
        name="cache-needs-flash-attention",
        patterns=(r"quantized V cache requires flash_attn",),
        fact="A quantized key-value cache needs flash attention.",
        cause="serving.dtype='float32' switches it off, since it rounds to 16 bits.",
        remedy="Set serving.dtype to auto, or take the cache types out of serving.extra_args.",
        field="serving.extra_args",
    ),
    Failure(
        name="library-broken",
        patterns=(r"(?:ImportError|ModuleNotFoundError): (?P<what>[^\n()]+[^\n() ])",),
        fact="The engine's own environment is broken: {what}.",
        cause="A package or a shared library is missing, cut off, or of another version.",
        remedy="Delete the environment that the log names, it is built again; or correct "
        "ASSAY_LLAMACPP_PYTHON.",
    ),
    Failure(
        name="argument-unknown",
        patterns=(
            r"error: unrecognized arguments: (?P<what>[^\n]+)",
            r"error: invalid argument: (?P<what>[^\n]+)",
        ),
        fact="The engine does not know the arguments {what}.",
        cause="serving.extra_args holds a slip, an argument of another version, or one that a "
        "program llama-server alone takes.",
        remedy="Correct serving.extra_args, or let serving.python name a llama-server.",
        field="serving.extra_args",
    ),
    Failure(
        name="argument-invalid",
        patterns=(
            r"error: argument (?P<what>[^\n(]+[^\n( ])",
            r"error while handling argument (?P<what>[^\n]+)",
            r"OverflowError: (?P<what>[^\n]+)",
        ),
        fact="The engine refuses an argument: {what}.",
        cause="serving.extra_args or serving.max_model_len gives a value that it cannot use.",
        remedy="Correct serving.extra_args or serving.max_model_len.",
        field="serving.extra_args",
    ),
    Failure(
        name="processor-too-old",
        patterns=(),
        exit_code=128 + 4,
        fact="The engine uses instructions that this processor lacks.",
        cause="It is built for processors with AVX2.",
        remedy="Let serving.python name a llama-server that was built here.",
        field="serving.python",
    ),
    Failure(
        name="killed",
        patterns=(),
        exit_code=128 + 9,
        fact="The engine was killed from outside, without a word.",
        cause="The kernel kills the largest process when memory runs out; `dmesg` tells.",
        remedy=_SHORTER,
        field="serving.max_model_len",
    ),
)

TABLE = Table(FAILURES, log.failure, log.first_error)
