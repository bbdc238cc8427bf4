"""The ONNX graph of a model file, for runtimes that read ONNX: found beside the model, in the cache, or exported into it.

The graph is that of `PortableNetwork`, with free batch, height and width. A model file records the digest of the graph
beside it: a graph that is damaged, of other weights or of an older form is never run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from enet_ros.engines.cache import load_entry, store_entry
from enet_ros.errors import EnetError, EngineError
from enet_ros.files import write_bytes
from enet_ros.network.model_file import ModelFile, read_model, write_model

if TYPE_CHECKING:
    import torch

    from enet_ros.network.inference import InferenceNetwork

log = logging.getLogger(__name__)

GRAPH_VERSION = '3'
"""Increase it when `export_graph` writes another graph for the same weights."""
OUTPUTS = ('labels', 'confidence')
"""Names of a network's outputs, in their order. A network without confidence has only the first."""


def load_graph(model: ModelFile) -> bytes:
    """Return the ONNX graph of `model`: the one beside it, from the cache, or exported into the cache.

    Raises:
        EngineError: it must be exported, and PyTorch or onnx is missing.
        EnetError: the weights do not fit their architecture.

    """
    beside = model.path.with_suffix('.onnx')
    lack = 'has no ONNX graph beside it'
    if beside.is_file() and os.access(beside, os.R_OK):
        graph = beside.read_bytes()
        if model.graph == _record(graph):
            return graph
        lack = f'does not record this {beside.name}, which is damaged, of another model or of an older version'
        log.warning('%s is not used: %s %s', beside, model.path.name, lack)
    name, key = f'{model.sha256[:16]}-v{GRAPH_VERSION}.graph', {'model': model.sha256, 'version': GRAPH_VERSION}
    try:
        return load_entry(name, key)
    except FileNotFoundError:
        pass
    except ValueError as error:
        log.warning('the ONNX graph is exported again: %s', error)
    if missing := [package for package in ('torch', 'onnx') if find_spec(package) is None]:
        raise EngineError(
            f'{model.path} {lack}, and exporting one needs {missing[0]}: pip install {missing[0]}, or run '
            '"enet export-graph" on the machine that trained the model and copy both files'
        )
    graph = export_graph(model)
    try:
        store_entry(name, key, graph)
    except EnetError as error:
        log.warning('the ONNX graph is not cached and must be exported again at the next start: %s', error)
    return graph


def add_graph(path: Path) -> Path:
    """Write the ONNX graph of the model file `path` beside it, and record its digest in the file. Return the graph's path.

    The model file's own digest changes; its weights do not.

    Raises:
        EnetError: a file cannot be read or written, PyTorch cannot export the graph, or a package is missing.

    """
    model = read_model(path)
    graph = export_graph(model)
    beside = path.with_suffix('.onnx')
    write_bytes(beside, graph)  # first: a graph that is not recorded is not used
    write_model(path, model.info, model.weights, _record(graph))
    return beside


def _record(graph: bytes) -> dict[str, str]:
    """Return what a model file records of the graph beside it."""
    return {'version': GRAPH_VERSION, 'sha256': hashlib.sha256(graph).hexdigest()}


def export_graph(model: ModelFile) -> bytes:
    """Return the graph of `model`.

    Raises:
        EnetError: PyTorch or onnx is missing, PyTorch is too old, or the weights do not fit their architecture.

    """
    for package in ('torch', 'onnx'):
        if find_spec(package) is None:
            raise EngineError(f'exporting the ONNX graph of {model.path} needs {package}: pip install {package}')
    import torch

    from enet_ros.network.portable import PortableNetwork

    images = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    return export_network(PortableNetwork(model).eval(), images, free_shape=True)


def export_network(network: InferenceNetwork, images: torch.Tensor, *, free_shape: bool = False) -> bytes:
    """Return the ONNX graph of `network` for `images` (N x H x W x 3, uint8), or with `free_shape` for any N, H and W.

    Needs onnx.

    Raises:
        EngineError: PyTorch is too old.

    """
    import torch

    if 'dynamo' not in signature(torch.onnx.export).parameters:
        raise EngineError(f'PyTorch {torch.__version__} is too old to export ONNX graphs: install PyTorch 2.5 or newer')
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
