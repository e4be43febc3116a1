"""What each input of each matrix weighs: the mean of its squares, as `llama-imatrix` sums it.

Conversations are joined and cut into blocks, of which the last, incomplete one is dropped; each
block begins as every text does, and nothing of one block is seen in the next.
"""

from ctypes import (
    POINTER,
    c_uint8,
    cast,
)

import numpy as np
from libllama import EVALUATED, Tensor

PIECE = 512
"""Tokens at a time: all of their logits are kept meanwhile."""


class Collector:
    """Sums squares of what goes into the matrices of numbered blocks."""

    def __init__(self, library):
        self.failed = None
        self._names = {}
        self._op_name = library.ggml.ggml_op_name
        self._sums = {}
        self._counts = {}
        self.watch = EVALUATED(self._watch)

    def result(self):
        """Return tensor → weights of its inputs, and how many matrices of experts saw nothing."""
        weights, unseen = {}, 0
        for name, sums in self._sums.items():
            counts = self._counts[name]
            unseen += int((counts == 0).sum())
            mean = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], 1.0)
            weights[name] = np.ascontiguousarray(mean, dtype=np.float32)
        return weights, unseen

    def _watch(self, address, wanted, _):
        try:
            tensor = cast(address, POINTER(Tensor)).contents
            op = self._name_of(tensor.op)
            if wanted:
                return op == "MUL_MAT_ID" or (op == "MUL_MAT" and self._is_ours(tensor))
            if self._is_ours(tensor):
                (self._experts if op == "MUL_MAT_ID" else self._dense)(tensor)
        except Exception as error:  # nothing may be raised through the library
            self.failed = self.failed or error
        return True

    def _name_of(self, op):
        if op not in self._names:
            self._names[op] = self._op_name(op).decode()
        return self._names[op]

    @staticmethod
    def _is_ours(tensor):
        return tensor.src[0].contents.name.startswith(b"blk.") and tensor.src[1].contents.type == 0

    def _dense(self, tensor):
        weight, inputs = tensor.src[0].contents, _array(tensor.src[1].contents)
        matrices = weight.ne[2] * weight.ne[3]
        rows = inputs.shape[0] * inputs.shape[1] * inputs.shape[2] // matrices
        for i3 in range(inputs.shape[0]):
            for i2 in range(inputs.shape[1]):
                matrix = (i3 % weight.ne[3]) * weight.ne[2] + i2 % weight.ne[2]
                squares = np.square(inputs[i3, i2], dtype=np.float64).sum(axis=0)
                self._add(weight, matrices, matrix, squares, 0)
        self._counts[weight.name.decode()] += rows

    def _experts(self, tensor):
        weight, inputs = tensor.src[0].contents, _array(tensor.src[1].contents)[0]
        chosen = _array(tensor.src[2].contents)[0, 0]  # tokens × experts of each
        for place in range(chosen.shape[1]):
            squares = np.square(inputs[:, place % inputs.shape[1]], dtype=np.float64)
            for expert in np.unique(chosen[:, place]):
                mine = squares[chosen[:, place] == expert]
                self._add(weight, weight.ne[2], int(expert), mine.sum(axis=0), len(mine))

    def _add(self, weight, matrices, matrix, squares, count):
        name = weight.name.decode()
        if name not in self._sums:
            self._sums[name] = np.zeros((matrices, len(squares)))
            self._counts[name] = np.zeros(matrices, dtype=np.int64)
        self._sums[name][matrix] += squares
        self._counts[name][matrix] += count


def blocks(token_ids, length, first_token):
    """Join conversations and cut them into blocks of a length; what fills none is dropped."""
    joined = [token for one in token_ids for token in one]
    cut = [joined[start : start + length] for start in range(0, len(joined), length)]
    whole = [block for block in cut if len(block) == length]
    return whole if first_token is None else [[first_token, *block[1:]] for block in whole]


def collect(library, path, whole, hear):
    """Evaluate blocks with a GGUF file; return the weights, and how many experts saw nothing.

    Raises:
        ValueError: llama.cpp cannot evaluate it, or a sum is not finite.
    """
    collector = Collector(library)
    model = library.model(path)
    try:
        hear(0, len(whole))
        steps = library.evaluate(model, whole, piece=PIECE, watch=collector.watch)
        for done, _ in enumerate(steps, start=1):
            if collector.failed:
                raise collector.failed
            hear(done, len(whole))
    finally:
        library.free_model(model)
    weights, unseen = collector.result()
    if not weights:
        raise ValueError("llama.cpp evaluated no matrix of a numbered block")
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise ValueError(f"the inputs of {name} are not finite")
    return weights, unseen


def _array(tensor):
    """Return a tensor's values as an array, its dimensions reversed: no copy."""
    kind = {0: np.float32, 26: np.int32}[tensor.type]
    size = sum((tensor.ne[i] - 1) * tensor.nb[i] for i in range(4)) + tensor.nb[0]
    memory = (c_uint8 * size).from_address(tensor.data)
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    return np.ndarray(shape, kind, memory, strides=strides)
