"""Run a TensorRT network layer by layer in PyTorch, to test without a GPU what TensorRT is asked to compute.

It supports the layers of the networks here, each as TensorRT's documentation defines it. Any other layer or setting is an
error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorrt_rtx as trt
import torch
from torch import Tensor
from torch.nn import functional

Object = Any  # of TensorRT, whose Python API is untyped

_TYPES = {
    trt.float32: torch.float32, trt.float16: torch.float16, trt.int32: torch.int32, trt.int64: torch.int64,
    trt.bool: torch.bool, trt.uint8: torch.uint8, trt.int8: torch.int8,
}
_ELEMENTWISE = {
    trt.ElementWiseOperation.SUM: torch.add, trt.ElementWiseOperation.SUB: torch.sub,
    trt.ElementWiseOperation.PROD: torch.mul, trt.ElementWiseOperation.GREATER: torch.gt,
    trt.ElementWiseOperation.MAX: torch.maximum, trt.ElementWiseOperation.MIN: torch.minimum,
    trt.ElementWiseOperation.LESS: torch.lt, trt.ElementWiseOperation.EQUAL: torch.eq,
    trt.ElementWiseOperation.FLOOR_DIV: torch.floor_divide,
    trt.ElementWiseOperation.DIV: lambda a, b: a / b if a.is_floating_point() else a // b,
    trt.ElementWiseOperation.AND: torch.logical_and, trt.ElementWiseOperation.OR: torch.logical_or,
}


_UNARY = {trt.UnaryOperation.EXP: torch.exp, trt.UnaryOperation.RECIP: torch.reciprocal}
_REDUCE = {trt.ReduceOperation.MAX: torch.amax, trt.ReduceOperation.SUM: torch.sum}


def run_network(network: Object, images: Tensor) -> dict[str, Tensor]:
    """Return the outputs of `network` by name for its only input."""
    values = {network.get_input(0).name: images}
    waiting = deque(network.get_layer(number) for number in range(network.num_layers))
    passed_over = 0
    while waiting:
        layer = waiting.popleft()
        tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
        if any(tensor is not None and tensor.name not in values for tensor in tensors):
            waiting.append(layer)  # the parser's layers are not in the order of execution
            passed_over += 1
            assert passed_over <= len(waiting), f'{layer.name} lacks an input'
            continue
        passed_over = 0
        kind = trt.ILayer.type.__get__(layer).name  # some classes have another attribute `type`
        layer.__class__ = _CLASSES[kind]
        results = _LAYERS[kind](layer, *(None if tensor is None else values[tensor.name] for tensor in tensors))
        for index, result in enumerate(results if isinstance(results, tuple) else (results,)):
            output = layer.get_output(index)
            assert tuple(output.shape) == tuple(result.shape), (layer.name, output.shape, result.shape)
            values[output.name] = result.to(_TYPES[output.dtype])
    return {name: values[name] for name in (network.get_output(index).name for index in range(network.num_outputs))}


def _weights(values: Object) -> Tensor:
    return torch.from_numpy(np.array(values))


def _constant(layer: Object) -> Tensor:
    return _weights(layer.weights).reshape(tuple(layer.shape))


def _cast(layer: Object, value: Tensor) -> Tensor:
    return value.to(_TYPES[layer.to_type])


def _shuffle(layer: Object, value: Tensor, shape: Tensor | None = None) -> Tensor:
    value = _permute(value, layer.first_transpose)
    wanted = shape.tolist() if shape is not None else layer.reshape_dims
    if shape is not None or _is_set(wanted):
        if layer.zero_is_placeholder:
            wanted = [value.shape[axis] if side == 0 else side for axis, side in enumerate(wanted)]
        value = value.reshape(tuple(wanted))
    return _permute(value, layer.second_transpose)


def _is_set(dims: Object) -> bool:
    try:
        return len(dims) >= 0
    except ValueError:  # TensorRT's for dimensions that were never set
        return False


def _permute(value: Tensor, permutation: Object) -> Tensor:
    return value.permute(tuple(permutation)[:value.ndim])


def _scale(layer: Object, value: Tensor) -> Tensor:
    assert layer.mode == trt.ScaleMode.CHANNEL and (not np.size(layer.power) or np.all(layer.power == 1))
    scale, shift = (
        _weights(values).view(1, -1, 1, 1) if np.size(values) else default
        for values, default in ((layer.scale, 1), (layer.shift, 0))
    )
    return value * scale + shift


def _pooling(layer: Object, value: Tensor) -> Tensor:
    assert layer.type == trt.PoolingType.MAX and not any(layer.pre_padding) and not any(layer.post_padding)
    return functional.max_pool2d(value.float(), tuple(layer.window_size_nd), tuple(layer.stride_nd))


def _convolution(layer: Object, value: Tensor, quantized: Tensor | None = None) -> Tensor:
    groups, height, width = layer.num_groups, *layer.kernel_size_nd
    kernel = _weights(layer.kernel) if quantized is None else quantized
    kernel = kernel.reshape(layer.num_output_maps, value.shape[1] // groups, height, width)
    assert tuple(layer.pre_padding) == tuple(layer.post_padding)
    # in float32 and rounded once: this tests the network, not PyTorch's arithmetic in half
    return functional.conv2d(value.float(), kernel.float(), _bias(layer), tuple(layer.stride_nd), tuple(layer.pre_padding),
                             tuple(layer.dilation_nd), groups)


def _deconvolution(layer: Object, value: Tensor, quantized: Tensor | None = None) -> Tensor:
    groups, height, width = layer.num_groups, *layer.kernel_size_nd
    kernel = _weights(layer.kernel) if quantized is None else quantized
    kernel = kernel.reshape(value.shape[1], layer.num_output_maps // groups, height, width)
    whole = functional.conv_transpose2d(value.float(), kernel.float(), _bias(layer), tuple(layer.stride_nd), 0, 0, groups,
                                        tuple(layer.dilation_nd))
    # by definition, padding is cut off the whole result
    (top, left), (bottom, right) = layer.pre_padding, layer.post_padding
    return whole[:, :, top:whole.shape[2] - bottom, left:whole.shape[3] - right]


def _quantize(layer: Object, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    assert zero is None or not zero.any(), f'{layer.name} has a zero point, which TensorRT does not support'
    return (value / _along(layer, value, scale)).round().clamp(-128, 127)


def _dequantize(layer: Object, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    assert zero is None or not zero.any(), f'{layer.name} has a zero point, which TensorRT does not support'
    return value.float() * _along(layer, value, scale)


def _along(layer: Object, value: Tensor, scale: Tensor) -> Tensor:
    """Return a scale (one value, or one for each index on the layer's axis) in a shape that broadcasts to `value`."""
    return scale if scale.numel() == 1 else scale.view(-1, *[1] * (value.ndim - layer.axis - 1))


def _bias(layer: Object) -> Tensor | None:
    return _weights(layer.bias).float() if np.size(layer.bias) else None


def _concatenation(layer: Object, *values: Tensor) -> Tensor:
    return torch.cat(values, layer.axis)


def _parametric_relu(layer: Object, value: Tensor, slopes: Tensor) -> Tensor:
    return torch.where(value < 0, value * slopes, value)


def _activation(layer: Object, value: Tensor) -> Tensor:
    assert layer.type == trt.ActivationType.RELU
    return value.relu()


def _elementwise(layer: Object, left: Tensor, right: Tensor) -> Tensor:
    assert left.ndim == right.ndim and left.dtype == right.dtype, layer.name
    return _ELEMENTWISE[layer.op](left, right)


def _unary(layer: Object, value: Tensor) -> Tensor:
    return _UNARY[layer.op](value)


def _reduce(layer: Object, value: Tensor) -> Tensor:
    axes = tuple(axis for axis in range(value.ndim) if layer.axes >> axis & 1)
    return _REDUCE[layer.op](value, axes, keepdim=layer.keep_dims)


def _select(layer: Object, mask: Tensor, if_true: Tensor, if_false: Tensor) -> Tensor:
    return torch.where(mask, if_true, if_false)


def _slice(layer: Object, value: Tensor, start: Tensor | None = None, size: Tensor | None = None,
           stride: Tensor | None = None, fill: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    own_axes = list(layer.axes) if _is_set(layer.axes) else list(range(value.ndim))
    axis_list = own_axes if axes is None else axes.tolist()
    begin, count, step = (
        given.tolist() if given is not None else list(own)
        for given, own in ((start, layer.start), (size, layer.shape), (stride, layer.stride))
    )
    for axis, first, number, by in zip(axis_list, begin, count, step):
        places = torch.arange(number) * by + first
        inside = (places >= 0) & (places < value.shape[axis])
        assert inside.all() or layer.mode == trt.SampleMode.FILL, layer.name
        taken = value.index_select(axis, places.clamp(0, value.shape[axis] - 1))
        keep = inside.view(-1, *[1] * (value.ndim - axis - 1))
        value = torch.where(keep, taken, 0 if fill is None else fill)
    return value


def _resize(layer: Object, value: Tensor, *_: Tensor) -> Tensor:
    assert layer.resize_mode == trt.InterpolationMode.NEAREST
    assert layer.coordinate_transformation == trt.ResizeCoordinateTransformation.ASYMMETRIC
    assert layer.nearest_rounding == trt.ResizeRoundMode.FLOOR
    for axis, wanted in enumerate(layer.get_output(0).shape):
        value = value.index_select(axis, torch.arange(wanted) * value.shape[axis] // wanted)
    return value


def _fill(layer: Object, shape: Tensor | None = None, start: Tensor | None = None, step: Tensor | None = None) -> Tensor:
    assert layer.operation == trt.FillOperation.LINSPACE and len(layer.get_output(0).shape) == 1
    first, by = (given if given is not None else own for given, own in ((start, layer.alpha), (step, layer.beta)))
    return first + torch.arange(layer.get_output(0).shape[0]) * by


def _topk(layer: Object, scores: Tensor) -> tuple[Tensor, Tensor]:
    assert layer.op == trt.TopKOperation.MAX and layer.k == 1
    # a lower index wins a tie, as in argmax
    axis = layer.axes.bit_length() - 1
    indices = scores.argmax(axis, keepdim=True)
    return scores.gather(axis, indices), indices


def _gather(layer: Object, value: Tensor, indices: Tensor) -> Tensor:
    assert layer.mode == trt.GatherMode.DEFAULT and layer.num_elementwise_dims == 0
    taken = value.index_select(layer.axis, indices.flatten().long())
    return taken.reshape((*value.shape[:layer.axis], *indices.shape, *value.shape[layer.axis + 1:]))


def _shape(layer: Object, value: Tensor) -> Tensor:
    return torch.tensor(value.shape)


def _unsqueeze(layer: Object, value: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.flatten().tolist()):
        value = value.unsqueeze(axis)
    return value


def _squeeze(layer: Object, value: Tensor, axes: Tensor) -> Tensor:
    return value.squeeze(tuple(axes.flatten().tolist()))


_LAYERS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    'CONSTANT': _constant, 'CAST': _cast, 'SHUFFLE': _shuffle, 'SCALE': _scale, 'POOLING': _pooling,
    'CONVOLUTION': _convolution, 'DECONVOLUTION': _deconvolution, 'CONCATENATION': _concatenation,
    'PARAMETRIC_RELU': _parametric_relu, 'ACTIVATION': _activation, 'ELEMENTWISE': _elementwise, 'SELECT': _select,
    'SLICE': _slice, 'TOPK': _topk, 'GATHER': _gather, 'SHAPE': _shape, 'UNSQUEEZE': _unsqueeze, 'SQUEEZE': _squeeze,
    'RESIZE': _resize, 'FILL': _fill, 'QUANTIZE': _quantize, 'DEQUANTIZE': _dequantize,
    'UNARY': _unary, 'REDUCE': _reduce,
}
_CLASSES = {
    'CONSTANT': trt.IConstantLayer, 'CAST': trt.ICastLayer, 'SHUFFLE': trt.IShuffleLayer, 'SCALE': trt.IScaleLayer,
    'POOLING': trt.IPoolingLayer, 'CONVOLUTION': trt.IConvolutionLayer, 'DECONVOLUTION': trt.IDeconvolutionLayer,
    'CONCATENATION': trt.IConcatenationLayer, 'PARAMETRIC_RELU': trt.IParametricReLULayer,
    'ACTIVATION': trt.IActivationLayer, 'ELEMENTWISE': trt.IElementWiseLayer, 'SELECT': trt.ISelectLayer,
    'SLICE': trt.ISliceLayer, 'TOPK': trt.ITopKLayer, 'GATHER': trt.IGatherLayer, 'SHAPE': trt.IShapeLayer,
    'UNSQUEEZE': trt.IUnsqueezeLayer, 'SQUEEZE': trt.ISqueezeLayer, 'RESIZE': trt.IResizeLayer,
    'FILL': trt.IFillLayer, 'QUANTIZE': trt.IQuantizeLayer, 'DEQUANTIZE': trt.IDequantizeLayer,
    'UNARY': trt.IUnaryLayer, 'REDUCE': trt.IReduceLayer,
}
