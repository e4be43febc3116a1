"""What is in a finished file: its types, their bytes, and that all of it is finite."""

from collections import Counter

from saving import NotFiniteError


def describe(gguf, library, path, hear):
    """Return bytes and weights by type, and the bits of one weight.

    Args:
        gguf: The converter's package.
        library: llama.cpp's, which knows what a valid block of each type is.
        path: The file.
        hear: Hears how many tensors of how many are looked at.

    Raises:
        NotFiniteError: A tensor holds what is not a finite number.
    """
    tensors = gguf.GGUFReader(path).tensors
    sizes, weights, count = Counter(), Counter(), Counter()
    for done, tensor in enumerate(tensors):
        hear(done, len(tensors))
        kind = tensor.tensor_type.name
        address = tensor.data.ctypes.data
        if not library.row_data_valid(int(tensor.tensor_type), address, int(tensor.n_bytes)):
            raise NotFiniteError(
                f"{tensor.name} holds values that {tensor.tensor_type.name} cannot"
            )
        kind = tensor.tensor_type.name
        sizes[kind] += int(tensor.n_bytes)
        weights[kind] += int(tensor.n_elements)
        count[kind] += 1
    return {
        "types": {
            kind: {"tensors": count[kind], "weights": weights[kind], "bytes": sizes[kind]}
            for kind in sorted(sizes)
        },
        "bits_per_weight": round(8 * sizes.total() / weights.total(), 4),
    }
