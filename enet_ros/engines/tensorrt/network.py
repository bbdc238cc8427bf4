"""ENet as a TensorRT network, in one of two ways: through torch2trt, or through TensorRT's parser of ONNX graphs.

torch2trt (https://github.com/NVIDIA-AI-IOT/torch2trt) cannot be imported beside TensorRT 11. The parser takes its place
there, where torch2trt is not installed, and for int8, whose quantised network is an ONNX graph.

Both take the network from PyTorch in the type that it shall compute in, half for fp16, and for the one image size: the way
to a precision that TensorRT 11 has left, since its builder no longer chooses types. Exporting in half, instead of casting an
exported graph, keeps one rule for all engines (normalisation is folded in float32, then everything is rounded once) and
leaves no graph to be edited.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import tensorrt as trt
import torch

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.tensorrt.log import tensorrt_log
from enet_ros.errors import EngineError
from enet_ros.network.inference import DTYPES, InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling

OUTPUTS = ('labels', 'confidence')
"""Names of the outputs; networks for a spec without confidence have the first one only."""


def builder_name(precision: str) -> str:
    """Return what the network of `precision` is made through: torch2trt or parser."""
    usable = int(trt.__version__.split('.')[0]) <= 10 and find_spec('torch2trt') is not None
    return 'torch2trt' if usable and precision != 'int8' else 'parser'


def define_network(network: Any, model: ModelFile, spec: EngineSpec,  # noqa: ANN401 - TensorRT's
                   graph: bytes | None = None) -> None:
    """Put `model` for a resolved `spec` into the empty `network`, which TensorRT made.

    `graph` is the quantised ONNX graph of precision int8. The input is `image` (N x H x W x 3, uint8, RGB), the outputs are
    `OUTPUTS` (N x H x W, uint8).

    Raises:
        EngineError: TensorRT's parser refuses the graph, or onnx is missing.

    """
    if graph:
        parse(network, graph)
    elif builder_name(spec.precision) == 'torch2trt':
        convert(network, *traceable(model, spec))
    else:
        parse(network, export(*traceable(model, spec)))
    if not spec.confidence and network.num_outputs > 1:  # TensorRT leaves out what no output depends on
        network.unmark_output(network.get_output(1))


def traceable(model: ModelFile, spec: EngineSpec) -> tuple[InferenceNetwork, torch.Tensor]:
    """Return the network of `model` in the type of `spec`'s precision, and images of `spec`'s shape for it."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'  # older versions of PyTorch lack half on a CPU
    image = torch.zeros(spec.batch, spec.height, spec.width, 3, dtype=torch.uint8, device=device)
    return InferenceNetwork(model, CornerPooling(), confidence=spec.confidence).to(
        device, DTYPES[spec.precision]
    ).eval(), image


def convert(network: Any, module: InferenceNetwork, image: torch.Tensor) -> None:  # noqa: ANN401 - TensorRT's
    """Fill `network` with what `module` does with `image`, through torch2trt."""
    from torch2trt.torch2trt import CONVERTERS, ConversionContext, use_shape_wrapping

    import enet_ros.engines.tensorrt.converters  # noqa: F401 - registers them

    # torch2trt's own entry function knows no bytes; its context is all that is needed of it
    options = {
        'module': module, 'device_types': {}, 'default_device_type': trt.DeviceType.GPU,
        'fp16_mode': False, 'int8_mode': False,
    }
    context = ConversionContext(network, CONVERTERS, options)
    # not torch2trt's wrapper around it, which prints tensors into the names of layers and adds more layers while printing
    context.network = network
    # sizes are fixed: no arithmetic with them in the network
    with torch.no_grad(), context, use_shape_wrapping(False):
        image._trt = network.add_input('image', trt.uint8, tuple(image.shape))  # type: ignore[attr-defined]
        outputs = module(image)
    for name, output in zip(OUTPUTS, outputs if isinstance(outputs, tuple) else (outputs,)):
        output._trt.name = name
        network.mark_output(output._trt)


def parse(network: Any, graph: bytes) -> None:  # noqa: ANN401 - TensorRT's
    """Fill `network` from an ONNX graph; raises EngineError when the parser refuses it."""
    parser = trt.OnnxParser(network, tensorrt_log())
    if not parser.parse(graph):
        reason = ' '.join(parser.get_error(0).desc().split()) if parser.num_errors else 'it gives no reason'
        raise EngineError(f'TensorRT {trt.__version__} cannot read the ONNX graph ({reason}): choose another backend')


def export(module: InferenceNetwork, image: torch.Tensor) -> bytes:
    """Return the ONNX graph of `module` for images of the shape of `image` alone.

    Raises:
        EngineError: onnx is not installed.

    """
    if find_spec('onnx') is None:
        raise EngineError('building a TensorRT engine without torch2trt needs onnx: pip install onnx')
    with NamedTemporaryFile(suffix='.onnx') as file, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # tracing warns of comparisons of shapes, and the exporter of its own age
        torch.onnx.export(module, (image,), file.name, input_names=['image'], output_names=OUTPUTS[: 1 + module.confidence],
                          opset_version=17, dynamo=False)
        return Path(file.name).read_bytes()
