"""Converters for the operations of ENet that torch2trt does not support or converts wrongly. Importing this registers them.

torch2trt runs the network once with PyTorch's functions replaced by its own, which add layers to TensorRT's network. It
silently bakes the result of an operation it cannot convert into the engine as a constant: right for the image it was traced
with and wrong for all others. So the methods of `InferenceNetwork` and of `CornerPooling` are converted as a whole here.
Converters of torch2trt are replaced where they ignore arguments (output padding, padded channels) or add several layers
where one is enough (PReLU).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorrt as trt
import torch
from torch import Tensor
from torch2trt import get_arg, tensorrt_converter

Context = Any  # torch2trt and TensorRT are untyped
TrtTensor = Any
Converter = Callable[[Context], None]
_TYPES = {torch.float32: trt.float32, torch.float16: trt.float16}


def _converts(function: str) -> Callable[[Converter], Converter]:
    """Return a decorator that registers a converter of `function` and replaces any other."""
    register: Callable[[Converter], Converter] = tensorrt_converter(function)
    return register


@_converts('enet_ros.network.inference.InferenceNetwork.normalise')
def convert_normalise(ctx: Context) -> None:
    """Cast, move the channels first, then scale and shift each channel in one layer instead of three."""
    network, image = ctx.method_args
    floats = ctx.network.add_cast(image._trt, _TYPES[network.mean.dtype])
    planes = ctx.network.add_shuffle(floats.get_output(0))
    planes.first_transpose = (0, 3, 1, 2)
    mean, std = network.mean.flatten().float(), network.std.flatten().float()
    scale, shift = ((values.to(network.mean.dtype)) for values in (1 / (255 * std), -mean / std))
    power = torch.ones_like(scale)
    scaled = ctx.network.add_scale(
        planes.get_output(0), trt.ScaleMode.CHANNEL, _numpy(shift), _numpy(scale), _numpy(power)
    )
    ctx.method_return._trt = scaled.get_output(0)


@_converts('enet_ros.network.inference.InferenceNetwork.classify')
def convert_classify(ctx: Context) -> None:
    """Take the channel with the highest score of every pixel, as uint8."""
    _, scores = ctx.method_args
    best = ctx.network.add_topk(scores._trt, trt.TopKOperation.MAX, 1, 1 << 1).get_output(1)
    labels = ctx.network.add_shuffle(best)
    labels.reshape_dims = tuple(ctx.method_return.shape)
    # TensorRT casts only floats to uint8; they hold every class id exactly
    floats = ctx.network.add_cast(labels.get_output(0), _TYPES[scores.dtype])
    ctx.method_return._trt = ctx.network.add_cast(floats.get_output(0), trt.uint8).get_output(0)


@_converts('enet_ros.network.inference.InferenceNetwork.rate')
def convert_rate(ctx: Context) -> None:
    """Compute the softmax probability of the best class in float32, as `InferenceNetwork.rate` does, as uint8."""
    network, scores = ctx.network, ctx.method_args[1]._trt
    channels, operations = 1 << 1, trt.ElementWiseOperation

    def constant(value: float) -> TrtTensor:
        return _constant(ctx, torch.full((1, 1, 1, 1), value))

    if ctx.method_args[1].dtype != torch.float32:
        scores = network.add_cast(scores, trt.float32).get_output(0)
    best = network.add_reduce(scores, trt.ReduceOperation.MAX, channels, True).get_output(0)
    shifted = network.add_elementwise(scores, best, operations.SUB).get_output(0)
    terms = network.add_unary(shifted, trt.UnaryOperation.EXP).get_output(0)
    total = network.add_reduce(terms, trt.ReduceOperation.SUM, channels, True).get_output(0)
    share = network.add_elementwise(constant(255.0), total, operations.DIV).get_output(0)
    rounded = network.add_elementwise(share, constant(0.5), operations.SUM).get_output(0)  # casting truncates
    flat = network.add_shuffle(rounded)
    flat.reshape_dims = tuple(ctx.method_return.shape)
    ctx.method_return._trt = network.add_cast(flat.get_output(0), trt.uint8).get_output(0)


@_converts('enet_ros.network.pooling.CornerPooling.pool')
def convert_pool(ctx: Context) -> None:
    """Compare the corners of every 2x2 window, as `CornerPooling.pool` does.

    The positions are three masks of the pooled size instead of one of the full size: fewer bytes to write and read.
    """
    _, image = ctx.method_args
    pooled, positions = ctx.method_return

    def corner(row: int, column: int) -> TrtTensor:
        start, shape, stride = (0, 0, row, column), tuple(pooled.shape), (1, 1, 2, 2)
        return ctx.network.add_slice(image._trt, start, shape, stride).get_output(0)

    top_left, top_right, bottom_left, bottom_right = corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1)
    right_of_top, right_of_bottom = _greater(ctx, top_right, top_left), _greater(ctx, bottom_right, bottom_left)
    top = _select(ctx, right_of_top, top_right, top_left)
    bottom = _select(ctx, right_of_bottom, bottom_right, bottom_left)
    below = _greater(ctx, bottom, top)
    pooled._trt = _select(ctx, below, bottom, top)
    positions._trt_corners = below, right_of_top, right_of_bottom


@_converts('enet_ros.network.pooling.CornerPooling.unpool')
def convert_unpool(ctx: Context) -> None:
    """Put every value where its maximum was: select into four planes, one for each corner, then depth-to-space."""
    _, pooled, positions, size = ctx.method_args
    images, channels, height, width = pooled.shape
    zero = _constant(ctx, torch.zeros(1, 1, 1, 1, dtype=pooled.dtype))
    below, right_of_top, right_of_bottom = positions._trt_corners
    top, bottom = _select(ctx, below, zero, pooled._trt), _select(ctx, below, pooled._trt, zero)
    planes = []
    for plane in (
        _select(ctx, right_of_top, zero, top), _select(ctx, right_of_top, top, zero),
        _select(ctx, right_of_bottom, zero, bottom), _select(ctx, right_of_bottom, bottom, zero),
    ):
        layer = ctx.network.add_shuffle(plane)
        layer.reshape_dims = (images, channels, 1, height, width)
        planes.append(layer.get_output(0))
    stacked = ctx.network.add_concatenation(planes)
    stacked.axis = 2
    spread = ctx.network.add_shuffle(stacked.get_output(0))
    spread.reshape_dims = (images, channels, 2, 2, height, width)
    spread.second_transpose = (0, 1, 4, 2, 5, 3)
    full = ctx.network.add_shuffle(spread.get_output(0))
    full.reshape_dims = (images, channels, 2 * height, 2 * width)
    ctx.method_return._trt = _extend(ctx, full.get_output(0), pooled.dtype, (images, channels, *size))


@_converts('torch.Tensor.__getitem__')
def convert_slices(ctx: Context) -> None:
    """Cut the end off the last axes. The converter of torch2trt adds layers that compute sizes, but sizes are fixed here."""
    image, index = ctx.method_args
    if not hasattr(image, '_trt'):
        return
    ellipsis, *ends = index if isinstance(index, tuple) else (index,)
    if ellipsis is not Ellipsis or not all(isinstance(end, slice) and not end.start and not end.step for end in ends):
        raise NotImplementedError(f'index {index}: only [..., :end, :end] is converted')
    part = ctx.method_return
    origin, stride = (0,) * part.ndim, (1,) * part.ndim
    part._trt = ctx.network.add_slice(image._trt, origin, tuple(part.shape), stride).get_output(0)


@_converts('torch.nn.functional.pad')
def convert_pad(ctx: Context) -> None:
    """Append zeros at the end of any axis. The converter of torch2trt ignores all axes but height and width."""
    image, pads = ctx.method_args[0], get_arg(ctx, 'pad', 1, None)
    if any(pads[::2]) or any(pad < 0 for pad in pads) or get_arg(ctx, 'mode', 2, 'constant') != 'constant' or (
        get_arg(ctx, 'value', 3, None)
    ):
        raise NotImplementedError(f'pad {pads}: only zeros at the end of an axis are converted')
    ctx.method_return._trt = _extend(ctx, image._trt, image.dtype, ctx.method_return.shape)


@_converts('torch.nn.functional.conv_transpose2d')
def convert_conv_transpose2d(ctx: Context) -> None:
    """Add a deconvolution. That of torch2trt confuses input and output channels and ignores output padding."""
    image, weight = get_arg(ctx, 'input', 0, None), get_arg(ctx, 'weight', 1, None)
    bias, groups = get_arg(ctx, 'bias', 2, None), get_arg(ctx, 'groups', 6, 1)
    stride, padding = _pair(get_arg(ctx, 'stride', 3, 1)), _pair(get_arg(ctx, 'padding', 4, 0))
    output_padding, dilation = _pair(get_arg(ctx, 'output_padding', 5, 0)), _pair(get_arg(ctx, 'dilation', 7, 1))
    layer = ctx.network.add_deconvolution_nd(
        image._trt, weight.shape[1] * groups, tuple(weight.shape[2:]), _numpy(weight),
        trt.Weights(_TYPES[weight.dtype]) if bias is None else _numpy(bias),
    )
    layer.stride_nd, layer.dilation_nd, layer.num_groups = stride, dilation, groups
    layer.pre_padding = padding
    # output padding keeps more of the end of each axis
    layer.post_padding = tuple(both - extra for both, extra in zip(padding, output_padding))
    ctx.method_return._trt = layer.get_output(0)


@_converts('torch.nn.functional.prelu')
def convert_prelu(ctx: Context) -> None:
    """Add one layer with a slope per channel."""
    features, slopes = get_arg(ctx, 'input', 0, None), get_arg(ctx, 'weight', 1, None)
    layer = ctx.network.add_parametric_relu(features._trt, _constant(ctx, slopes.view(1, -1, 1, 1)))
    ctx.method_return._trt = layer.get_output(0)


@_converts('enet_ros.network.portable.MaximumPReLU.forward')
def convert_maximum(ctx: Context) -> None:
    """Add a product and a maximum."""
    module, features = ctx.method_args
    slopes = _constant(ctx, module.slopes.view(1, -1, 1, 1))
    product = ctx.network.add_elementwise(features._trt, slopes, trt.ElementWiseOperation.PROD).get_output(0)
    layer = ctx.network.add_elementwise(features._trt, product, trt.ElementWiseOperation.MAX)
    ctx.method_return._trt = layer.get_output(0)


def _greater(ctx: Context, left: TrtTensor, right: TrtTensor) -> TrtTensor:
    return ctx.network.add_elementwise(left, right, trt.ElementWiseOperation.GREATER).get_output(0)


def _select(ctx: Context, mask: TrtTensor, if_true: TrtTensor, if_false: TrtTensor) -> TrtTensor:
    return ctx.network.add_select(mask, if_true, if_false).get_output(0)


def _extend(ctx: Context, tensor: TrtTensor, dtype: torch.dtype, shape: Sequence[int]) -> TrtTensor:
    """Append zeros to `tensor` until it has `shape`."""
    for axis, wanted in enumerate(shape):
        have = tuple(tensor.shape)
        if missing := wanted - have[axis]:
            zeros = _constant(ctx, torch.zeros(*have[:axis], missing, *have[axis + 1:], dtype=dtype))
            layer = ctx.network.add_concatenation([tensor, zeros])
            layer.axis = axis
            tensor = layer.get_output(0)
    return tensor


def _constant(ctx: Context, values: Tensor) -> TrtTensor:
    return ctx.network.add_constant(tuple(values.shape), _numpy(values)).get_output(0)


def _numpy(values: Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values.detach().cpu().numpy())


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
