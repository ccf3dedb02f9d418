"""Apply a small random convolutional network to every sample of a batch.

Two formulations of the same sums. On a GPU: one grouped convolution per layer, samples side by side on the channel
axis. On a CPU oneDNN handles groups of one or two channels badly (it pads each to the SIMD width), so there each
kernel tap is one in-place multiply-add over a shifted view of a flat padded buffer. The buffers are small enough to
stay in cache and are reused, so no memory is allocated per layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ("reflect", "zeros")

# Floats of one working buffer per thread: 4 MB, eight 256 x 256 slices with two channels. Smaller ones cost more calls
# and thread barriers than the cache gives back; larger ones fall out of the cache.
_FLOATS_PER_THREAD = 2**20 + 2**16


@dataclass(frozen=True)
class ConvLayer:
    """Weights of one layer: ``weight`` [G, c_out, c_in, *kernel], ``bias`` [G, c_out].

    G is the batch size (every sample has its own kernels) or 1 (all samples share them). Kernel sizes are odd.
    """

    weight: Tensor
    bias: Tensor

    @property
    def kernel(self) -> tuple[int, ...]:
        """Kernel size per spatial axis."""
        return tuple(self.weight.shape[3:])

    def to(self, device: torch.device) -> "ConvLayer":
        """Return the layer on ``device``."""
        return ConvLayer(self.weight.to(device), self.bias.to(device))

    def rows(self, samples: slice) -> "ConvLayer":
        """Return the layer of some samples; a shared layer serves all of them."""
        return self if len(self.weight) == 1 else ConvLayer(self.weight[samples], self.bias[samples])


def random_conv_net(x: Tensor, layers: Sequence[ConvLayer], *, slope: float, padding: str) -> Tensor:
    """Return the network's output at the input's spatial size.

    Args:
        x: float32 [B, C, H, W] or [B, C, D, H, W].
        layers: at least one; the last one's channels are the output's.
        slope: the slope of the leaky ReLU between layers; none follows the last one.
        padding: ``reflect`` mirrors at the border pixel's centre; an axis too short to mirror repeats the mirroring,
            so an axis of size 1 is continued with its only value. ``zeros`` pads every layer's input with zeros.
    """
    layers = [layer.to(x.device) for layer in layers]
    net = shifted_conv_net if x.device.type == "cpu" else grouped_conv_net
    return net(x, layers, slope=slope, padding=padding)


def grouped_conv_net(x: Tensor, layers: Sequence[ConvLayer], *, slope: float, padding: str) -> Tensor:
    """Run the network as grouped convolutions, one group a sample; see :func:`random_conv_net`.

    cuDNN may round products to TF32 on recent GPUs, as it does for the network, unless PyTorch is told otherwise.
    """
    batch, spatial = x.shape[0], x.shape[2:]
    conv = F.conv2d if len(spatial) == 2 else F.conv3d
    h = x.reshape(1, -1, *spatial)
    for depth, layer in enumerate(layers):
        if depth:
            h = F.leaky_relu(h, slope)
        weight, bias = (t.expand(batch, *t.shape[1:]).flatten(0, 1) for t in (layer.weight, layer.bias))
        h = conv(_pad(h, layer.kernel, padding), weight, bias, groups=batch)
    return h.view(batch, -1, *spatial)


def _pad(h: Tensor, kernel: Sequence[int], padding: str) -> Tensor:
    """Pad [1, C, *spatial] by half a kernel on each side."""
    widths = [k // 2 for k in kernel]
    pairs = [width for width in reversed(widths) for _ in range(2)]
    if padding == "zeros":
        return F.pad(h, pairs)
    if all(width < size for width, size in zip(widths, h.shape[2:], strict=True)):
        return F.pad(h, pairs, mode="reflect")
    for axis, (width, size) in enumerate(zip(widths, h.shape[2:], strict=True), start=2):
        source = [_mirror(i, size) for i in range(-width, size + width)]
        h = h.index_select(axis, torch.tensor(source, device=h.device))
    return h


def _mirror(index: int, size: int) -> int:
    """Fold an index outside ``[0, size)`` back inside, like two facing mirrors."""
    if size == 1:
        return 0
    period = 2 * (size - 1)
    return min(index % period, period - index % period)


def shifted_conv_net(x: Tensor, layers: Sequence[ConvLayer], *, slope: float, padding: str) -> Tensor:
    """Run the network as shifted multiply-adds, a few samples at a time; see :func:`random_conv_net`."""
    spatial, widest = x.shape[2:], max(x.shape[1], *(layer.weight.shape[1] for layer in layers))
    margin = [max(k) // 2 for k in zip(*(layer.kernel for layer in layers), strict=True)]
    out = x.new_empty(x.shape[0], layers[-1].weight.shape[1], *spatial)
    per_item = widest * prod(n + 2 * m for n, m in zip(spatial, margin, strict=True))
    step = min(max(1, _FLOATS_PER_THREAD * torch.get_num_threads() // per_item), x.shape[0])
    canvases = [_Canvas(step, widest, spatial, margin) for _ in range(2)]
    for start in range(0, x.shape[0], step):
        part = slice(start, min(start + step, x.shape[0]))
        _run(x[part], [layer.rows(part) for layer in layers], out[part], canvases, slope=slope, padding=padding)
    return out


class _Canvas:
    """A batch of padded images, each channel one flat row, so that a spatial shift is an offset along the row.

    The padding columns between two image rows are computed along with the pixels. Their values are meaningless until
    :meth:`fill_margin` sets them, and no pixel reads them before that.
    """

    def __init__(self, samples: int, channels: int, spatial: Sequence[int], margin: Sequence[int]) -> None:
        self.spatial, self.margin = tuple(spatial), tuple(margin)
        padded = [n + 2 * m for n, m in zip(spatial, margin, strict=True)]
        self.image = torch.zeros(samples, channels, *padded, dtype=torch.float32)
        self.flat = self.image.flatten(2)
        self.strides = self.image.stride()[2:]
        # First pixel's position in the row; the last pixel lies as far from the end.
        self.first = sum(m * stride for m, stride in zip(margin, self.strides, strict=True))

    def pixels(self, samples: int, channels: int) -> Tensor:
        """Return the view [samples, channels, *spatial] without the padding."""
        inner = tuple(slice(m, m + n) for m, n in zip(self.margin, self.spatial, strict=True))
        return self.image[(slice(samples), slice(channels), *inner)]

    def row(self, samples: int, channels: slice, shift: int = 0) -> Tensor:
        """Return the flat rows from first to last pixel, moved by ``shift`` positions."""
        length = self.flat.shape[2] - 2 * self.first
        return self.flat[:samples, channels].narrow(2, self.first + shift, length)

    def shifts(self, kernel: Sequence[int]) -> Iterator[int]:
        """Yield the row offset of each kernel tap, in the order of a flattened kernel."""
        for tap in product(*(range(-(k // 2), k // 2 + 1) for k in kernel)):
            yield sum(offset * stride for offset, stride in zip(tap, self.strides, strict=True))

    def fill_margin(self, channels: int, padding: str) -> None:
        """Set the padding; later axes copy the earlier ones' padding, which fills the corners."""
        for axis, (size, margin) in enumerate(zip(self.spatial, self.margin, strict=True), start=2):
            for index in (*range(-margin, 0), *range(size, size + margin)):
                target = self.image[:, :channels].select(axis, margin + index)
                if padding == "zeros":
                    target.zero_()
                else:
                    target.copy_(self.image[:, :channels].select(axis, margin + _mirror(index, size)))


def _run(
    x: Tensor, layers: Sequence[ConvLayer], out: Tensor, canvases: Sequence[_Canvas], *, slope: float, padding: str
) -> None:
    """Write the network's output for the samples ``x`` to ``out``, painting the two canvases in turn."""
    source, target = canvases
    source.pixels(*x.shape[:2]).copy_(x)
    for depth, layer in enumerate(layers):
        if depth:
            F.leaky_relu_(source.row(len(x), slice(layer.weight.shape[2])), slope)
        if max(layer.kernel) > 1:
            source.fill_margin(layer.weight.shape[2], padding)
        _convolve(source, target, layer, len(x))
        source, target = target, source
    out.copy_(source.pixels(*out.shape[:2]))


def _convolve(source: _Canvas, target: _Canvas, layer: ConvLayer, samples: int) -> None:
    """Add up input channels and kernel taps; each tap is one pass that serves all output channels."""
    total = target.row(samples, slice(layer.weight.shape[1]))
    total.copy_(layer.bias[..., None].expand_as(total))
    coefficients = iter(layer.weight.flatten(2)[..., None].unbind(2))
    for channel in range(layer.weight.shape[2]):
        for shift in source.shifts(layer.kernel):
            total.addcmul_(source.row(samples, slice(channel, channel + 1), shift), next(coefficients))
