"""AutoAWQ's search without its waits: the same steps on the same numbers, computed where they lie.

AutoAWQ is written to fit a small accelerator. Between the steps of its search it takes weights and
activations to main memory and back, collects garbage, empties the accelerator's cache, asks three
times a candidate whether a tensor has a value that is no number, and packs four bits column by
column. On a large accelerator that is nearly all of its time. What is computed stays as it is.

Only the error of a clipping threshold is computed in another order. AutoAWQ multiplies each weight
with each token's input and sums over a group: for every token, Σ x·(q - w), squared and averaged.
That mean is a quadratic form, (q - w)ᵀ·C·(q - w), with C the mean of x·xᵀ over the tokens: once it
is there, the tokens cost nothing. It is computed in float32, where AutoAWQ rounds in between.
"""

import contextlib

import torch
from awq.quantize import quantizer as steps
from awq.quantize.quantizer import AwqQuantizer, WQLinear_GEMM

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring outputs stands at which four bits of a word, from the lowest."""

CHUNK = 2**24
"""Weights whose thresholds are searched at a time."""


class LeanQuantizer(AwqQuantizer):
    """AutoAWQ's own quantizer; `on_layer(done, total)` hears of each layer that begins."""

    on_layer = staticmethod(lambda done, total: None)
    _begun = 0
    _goes_back = False

    def quantize(self):
        """Search and pack, layer after layer."""
        # A model that was loaded into main memory may be too large for the accelerator.
        self._goes_back = next(self.modules[-1].parameters()).device.type == "cpu"
        with _staying(), _in_place_of(steps, clear_memory=_nothing, WQLinear_GEMM=PackedLinear):
            super().quantize()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _get_input_feat(self, layer, named_linears):
        self.on_layer(self._begun, len(self.modules))
        if self._begun and self._goes_back:
            self.modules[self._begun - 1].to("cpu")
        self._begun += 1
        return super()._get_input_feat(layer, named_linears)

    def pseudo_quantize_tensor(self, w):
        """Round weights to the grid of their group; not a number stays that, and fits no layer.

        As AutoAWQ does it, which looks for such values here, with three waits for the accelerator.
        """
        shape = w.shape
        groups = w.reshape(-1, self.group_size) if self.group_size > 0 else w
        if not self.zero_point:
            return super().pseudo_quantize_tensor(w)
        largest, smallest = groups.amax(dim=1, keepdim=True), groups.amin(dim=1, keepdim=True)
        top = 2**self.w_bit - 1
        scales = (largest - smallest).clamp(min=1e-5) / top
        zeros = (-torch.round(smallest / scales)).clamp_(0, top)
        rounded = (torch.clamp(torch.round(groups / scales) + zeros, 0, top) - zeros) * scales
        return (
            rounded.reshape(shape),
            scales.view(shape[0], -1),
            zeros.view(shape[0], -1),
        )

    @torch.no_grad()
    def _compute_best_clip(self, w, input_feat, n_grid=20, max_shrink=0.5, n_sample_token=512):
        inputs = w.shape[1]
        size = self.group_size if self.group_size > 0 else inputs
        tokens = input_feat.reshape(-1, inputs)
        tokens = tokens[:: max(1, len(tokens) // n_sample_token)]
        x = tokens.to(w.device).float().reshape(len(tokens), -1, size).permute(1, 0, 2)
        c = x.transpose(1, 2) @ x / len(tokens)
        return torch.cat(
            [
                self._best_bounds(rows.reshape(len(rows), -1, size), c, n_grid, max_shrink)
                for rows in w.split(max(1, CHUNK // inputs))
            ]
        )

    def _best_bounds(self, w, c, n_grid, max_shrink):
        """Return the threshold with the least error of each group of weights.

        Args:
            w: [outputs, groups, inputs of a group].
            c: Mean products of inputs, [groups, inputs of a group, inputs of a group], float32.
            n_grid: Steps from no clipping to a threshold of zero.
            max_shrink: The last of them that is tried, as a share.
        """
        largest = w.abs().amax(dim=-1, keepdim=True)
        best = largest.clone()
        least = torch.full(largest.shape, float("inf"), device=w.device)
        for step in range(int(max_shrink * n_grid)):
            bound = largest * (1 - step / n_grid)
            rounded = self.pseudo_quantize_tensor(torch.clamp(w, -bound, bound))[0]
            off = (rounded - w).float().permute(1, 0, 2)
            error = ((off @ c) * off).sum(-1).t().unsqueeze(-1)
            better = error < least
            least = torch.where(better, error, least)
            best = torch.where(better, bound, best)
        return best


class PackedLinear(WQLinear_GEMM):
    """AutoAWQ's layer, packed in one go: the same words."""

    @classmethod
    def from_linear(cls, linear, w_bit, group_size, init_only=False, scales=None, zeros=None):
        """Return the packed layer of a linear one whose weights lie on their grid.

        Args:
            linear: Weights [outputs, inputs], float16.
            w_bit: 4.
            group_size: Inputs that share a scale.
            init_only: Leave it empty.
            scales: [groups, outputs].
            zeros: [groups, outputs].
        """
        packed = WQLinear_GEMM.from_linear(linear, w_bit, group_size, init_only=True)
        if init_only:
            return packed
        packed.scales = scales.clone().half()
        if linear.bias is not None:
            packed.bias = linear.bias.clone().half()
        size = packed.group_size
        words = torch.empty_like(packed.qweight)
        offsets = zeros * scales
        for group in range(len(scales)):
            rows = slice(group * size, (group + 1) * size)
            levels = (linear.weight.data[:, rows].t() + offsets[group]) / packed.scales[group]
            words[rows] = _words(torch.round(levels).to(torch.int32))
        packed.qweight = words
        packed.qzeros = _words(zeros.to(torch.int32))
        return packed


def _words(levels):
    """Return 4-bit levels [rows, outputs] as words [rows, outputs / 8]."""
    eights = levels.view(levels.shape[0], -1, 8)
    words = torch.zeros_like(eights[:, :, 0])
    for place, output in enumerate(ORDER):
        words |= eights[:, :, output] << (4 * place)
    return words


def _nothing(*_):
    """Leave garbage to the collector, and freed memory to the allocator that gave it."""


@contextlib.contextmanager
def _in_place_of(module, **names):
    before = {name: getattr(module, name) for name in names}
    for name, value in names.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


@contextlib.contextmanager
def _staying():
    """Where there is an accelerator, copy on it what AutoAWQ copies to main memory."""
    if not torch.cuda.is_available():
        yield
        return
    with (
        _in_place_of(torch.Tensor, cpu=torch.Tensor.clone),
        _in_place_of(torch.nn.Module, cpu=lambda module: module),
    ):
        yield
