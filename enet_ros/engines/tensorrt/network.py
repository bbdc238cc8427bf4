"""Define a network in TensorRT: through torch2trt, or through TensorRT's parser of ONNX graphs.

torch2trt (https://github.com/NVIDIA-AI-IOT/torch2trt) cannot be imported with TensorRT 11. The parser is used there, where
torch2trt is not installed, and for int8, where the quantised network is an ONNX graph.

Both start from the PyTorch network in the type it must compute in (half for fp16) and for one image size. TensorRT 11 has no
other way to a precision, because its builder no longer chooses types. Exporting in half, instead of casting an exported
graph, keeps one rule for all engines: normalisation is folded in float32, then everything is rounded once.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import tensorrt as trt
import torch

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.onnx_graph import OUTPUTS, export_network
from enet_ros.engines.tensorrt.log import tensorrt_log
from enet_ros.errors import EngineError, one_line
from enet_ros.network.inference import DTYPES, InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling
from enet_ros.network.portable import use_maxima


def builder_name(precision: str) -> str:
    """Return what defines the network of `precision`: torch2trt or parser."""
    usable = int(trt.__version__.split('.')[0]) <= 10 and find_spec('torch2trt') is not None
    return 'torch2trt' if usable and precision != 'int8' else 'parser'


def define_network(network: Any, model: ModelFile, spec: EngineSpec,  # noqa: ANN401 - TensorRT's
                   graph: bytes | None = None, *, way: str | None = None, prelu: str = 'layer') -> None:
    """Add the layers of `model` for a resolved `spec` to an empty network of TensorRT.

    `graph` is the quantised ONNX graph of precision int8. `way` is that of `builder_name` by default, `prelu` that of
    `BuildOptions`; a quantised graph has its own. The input is `image` (N x H x W x 3, uint8, RGB), the outputs are those of
    `OUTPUTS` that the spec asks for (N x H x W, uint8).

    Raises:
        EngineError: TensorRT's parser cannot read the graph, or onnx is not installed.

    """
    if graph:
        parse(network, graph, 'calibrate again with "enet build-engine"')
    elif (way or builder_name(spec.precision)) == 'torch2trt':
        convert(network, *traceable(model, spec, prelu))
    else:
        parse(network, export(model, spec, prelu), 'choose another backend')
    if not spec.confidence and network.num_outputs > 1:  # TensorRT leaves out what no output depends on
        network.unmark_output(network.get_output(1))


class _ParsedNetwork(InferenceNetwork):
    """`InferenceNetwork` in operations that the parser of every supported version reads."""

    def classify(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the class with the highest score of every pixel, N x H x W, uint8."""
        # TensorRT casts only floats to uint8; they hold every class id exactly
        return scores.argmax(1).to(scores.dtype).to(torch.uint8)


def traceable(
    model: ModelFile, spec: EngineSpec, prelu: str = 'layer', kind: type[InferenceNetwork] = InferenceNetwork
) -> tuple[InferenceNetwork, torch.Tensor]:
    """Return the network of `model` in the type of the spec's precision, and a batch of images to trace it with."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'  # older versions of PyTorch cannot compute in half on a CPU
    images = torch.zeros(spec.batch, spec.height, spec.width, 3, dtype=torch.uint8, device=device)
    network = kind(model, CornerPooling(), confidence=spec.confidence)
    if prelu == 'maximum':
        use_maxima(network)
    return network.to(device, DTYPES[spec.precision]).eval(), images


def convert(network: Any, module: InferenceNetwork, images: torch.Tensor) -> None:  # noqa: ANN401 - TensorRT's
    """Add the layers of `module` for the shape of `images` to `network`, through torch2trt."""
    from torch2trt.torch2trt import CONVERTERS, ConversionContext, use_shape_wrapping

    import enet_ros.engines.tensorrt.converters  # noqa: F401 - registers them

    # only torch2trt's context is used: its entry function does not support uint8
    options = {
        'module': module, 'device_types': {}, 'default_device_type': trt.DeviceType.GPU,
        'fp16_mode': False, 'int8_mode': False,
    }
    context = ConversionContext(network, CONVERTERS, options)
    # without torch2trt's wrapper, which prints tensors into the names of layers and adds layers while printing
    context.network = network
    # all sizes are fixed: no layers that compute with them
    with torch.no_grad(), context, use_shape_wrapping(False):
        images._trt = network.add_input('image', trt.uint8, tuple(images.shape))  # type: ignore[attr-defined]
        outputs = module(images)
    for name, output in zip(OUTPUTS, outputs if isinstance(outputs, tuple) else (outputs,)):
        output._trt.name = name
        network.mark_output(output._trt)


def parse(network: Any, graph: bytes, remedy: str) -> None:  # noqa: ANN401 - TensorRT's
    """Add the layers of an ONNX graph to `network`.

    Raises:
        EngineError: the parser cannot read the graph. The text ends with `remedy`.

    """
    parser = trt.OnnxParser(network, tensorrt_log())
    if not parser.parse(graph):
        reason = one_line(EngineError(parser.get_error(0).desc())) if parser.num_errors else 'no reason given'
        raise EngineError(f'TensorRT {trt.__version__} cannot read the ONNX graph ({reason}): {remedy}')


def export(model: ModelFile, spec: EngineSpec, prelu: str = 'layer') -> bytes:
    """Return the ONNX graph of `model` for the precision and shape of `spec`. `prelu` is that of `BuildOptions`.

    Raises:
        EngineError: onnx is not installed.

    """
    if find_spec('onnx') is None:
        raise EngineError('building a TensorRT engine without torch2trt needs onnx: pip install onnx')
    return export_network(*traceable(model, spec, prelu, _ParsedNetwork))
