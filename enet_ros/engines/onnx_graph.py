"""The ONNX graph of a model file, for runtimes that read ONNX: found beside the model, in the cache, or exported into it.

The graph is that of `PortableNetwork`, with free batch, height and width. It carries the hash of its model file, so a graph
that belongs to other weights, or to an older form of the graph, is never run.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

from enet_ros.engines.cache import cache_folder
from enet_ros.errors import EngineError
from enet_ros.files import replacing
from enet_ros.network.model_file import ModelFile

GRAPH_VERSION = '3'
"""Raised whenever `export_graph` writes another graph for the same weights."""

MODEL_KEY = 'enet_ros.model_sha256'
VERSION_KEY = 'enet_ros.graph_version'


def graph_paths(model: ModelFile) -> tuple[Path, Path]:
    """Return where the graph of `model` may lie: beside it, for a robot without torch, and in the cache."""
    return model.path.with_suffix('.onnx'), cache_folder() / f'{model.sha256[:16]}-v{GRAPH_VERSION}.onnx'


def export_graph(model: ModelFile, path: Path) -> None:
    """Export the graph of `model` to `path`, whole or not at all.

    Raises:
        EngineError: torch or onnx is not installed.
        EnetError: the file cannot be written, or the weights do not fit their architecture.

    """
    for package in ('torch', 'onnx'):
        if find_spec(package) is None:
            raise EngineError(
                f'{model.path} has no ONNX graph beside it and making one needs {package}: pip install {package}, '
                f'or bring {model.path.with_suffix(".onnx").name} from where the model was trained'
            )
    import onnx
    import torch

    from enet_ros.network.portable import PortableNetwork

    network = PortableNetwork(model).eval()
    free = {0: 'images', 1: 'height', 2: 'width'}
    with replacing(path) as temporary, warnings.catch_warnings():
        # tracing warns of comparisons of shapes, which hold for all multiples of 8, and the exporter of its own age:
        # the newer one needs one more package and bakes in the size
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            (torch.zeros(1, 64, 96, 3, dtype=torch.uint8),),
            str(temporary),
            input_names=['image'],
            output_names=['labels', 'confidence'],
            dynamic_axes={'image': free, 'labels': free, 'confidence': free},
            opset_version=17,
            dynamo=False,
        )
        graph = onnx.load(str(temporary))
        for key, value in ((MODEL_KEY, model.sha256), (VERSION_KEY, GRAPH_VERSION)):
            graph.metadata_props.add(key=key, value=value)
        onnx.save(graph, str(temporary))
