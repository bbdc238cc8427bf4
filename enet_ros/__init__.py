"""Real-time semantic segmentation for ROS 2 with ENet.

Example:
    segmenter = Segmenter(read_model(Path('model.safetensors')))
    labels = segmenter.segment(image, 'bgr').labels

"""

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.labels import LabelSet
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmentation, Segmenter
from enet_ros.version import __version__

__all__ = ['EnetError', 'EngineSpec', 'LabelSet', 'Segmentation', 'Segmenter', '__version__', 'read_model']
