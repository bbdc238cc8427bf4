"""Real-time semantic segmentation for ROS 2 with ENet.

Example:
    segmenter = Segmenter(read_model(Path('model.safetensors')))
    labels = segmenter.segment(image, 'bgr').labels

"""

from importlib import import_module
from typing import TYPE_CHECKING

from enet_ros.version import __version__

if TYPE_CHECKING:
    from enet_ros.engines.base import EngineSpec
    from enet_ros.errors import EnetError
    from enet_ros.labels import LabelSet
    from enet_ros.network.model_file import read_model
    from enet_ros.segmenter import Segmentation, Segmenter

__all__ = ['EnetError', 'EngineSpec', 'LabelSet', 'Segmentation', 'Segmenter', '__version__', 'read_model']
_MODULES = {'EngineSpec': 'engines.base', 'EnetError': 'errors', 'LabelSet': 'labels', 'read_model': 'network.model_file',
            'Segmentation': 'segmenter', 'Segmenter': 'segmenter'}


def __getattr__(name: str) -> object:
    """Import what is used, not all at once: `cli.start` handles signals before NumPy and OpenCV are imported."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
