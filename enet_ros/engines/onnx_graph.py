"""The ONNX graph of a model file, for runtimes that read ONNX: found beside the model, in the cache, or exported into it.

The graph is that of `PortableNetwork`, with free batch, height and width. It carries the hash of its model file and the
version of its form. A graph with other weights or of an older form is never run.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from enet_ros.engines.cache import cache_folder
from enet_ros.errors import EngineError
from enet_ros.files import replacing
from enet_ros.network.model_file import ModelFile

if TYPE_CHECKING:
    import torch

    from enet_ros.network.inference import InferenceNetwork

GRAPH_VERSION = '3'
"""Increase it when `export_graph` writes another graph for the same weights."""
OUTPUTS = ('labels', 'confidence')
"""Names of a network's outputs, in their order. A network without confidence has only the first."""

MODEL_KEY = 'enet_ros.model_sha256'
VERSION_KEY = 'enet_ros.graph_version'


def graph_paths(model: ModelFile) -> tuple[Path, Path]:
    """Return where the graph of `model` may be: beside it, for a robot without PyTorch, and in the cache."""
    return model.path.with_suffix('.onnx'), cache_folder() / f'{model.sha256[:16]}-v{GRAPH_VERSION}.onnx'


def export_graph(model: ModelFile, path: Path) -> None:
    """Export the graph of `model` to `path`, completely or not at all.

    Raises:
        EngineError: PyTorch or onnx is not installed.
        EnetError: the file cannot be written, or the weights do not fit their architecture.

    """
    for package in ('torch', 'onnx'):
        if find_spec(package) is None:
            raise EngineError(
                f'{model.path} has no ONNX graph beside it and exporting one needs {package}: pip install {package}, '
                f'or copy {model.path.with_suffix(".onnx").name} from the machine that trained the model'
            )
    import onnx
    import torch

    from enet_ros.network.portable import PortableNetwork

    images = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    graph = onnx.load_from_string(export_network(PortableNetwork(model).eval(), images, free_shape=True))
    for key, value in ((MODEL_KEY, model.sha256), (VERSION_KEY, GRAPH_VERSION)):
        graph.metadata_props.add(key=key, value=value)
    with replacing(path) as temporary:
        temporary.write_bytes(graph.SerializeToString())


def export_network(network: InferenceNetwork, images: torch.Tensor, *, free_shape: bool = False) -> bytes:
    """Return the ONNX graph of `network` for `images` (N x H x W x 3, uint8), or with `free_shape` for any N, H and W.

    Needs onnx.
    """
    import torch

    outputs = list(OUTPUTS[: 1 + network.confidence])
    free = {0: 'images', 1: 'height', 2: 'width'}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # about comparisons of shapes, which give the same for all multiples of 8, and about the exporter itself: the
        # newer one needs one more package and fixes the size
        warnings.simplefilter('ignore')
        path = Path(folder) / 'graph.onnx'
        torch.onnx.export(
            network, (images,), str(path), input_names=['image'], output_names=outputs,
            dynamic_axes=dict.fromkeys(('image', *outputs), free) if free_shape else None,
            opset_version=17, dynamo=False,
        )
        return path.read_bytes()
