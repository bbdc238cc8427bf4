"""The segmenter: a camera image in, label ids out. Node, command line and bag replay all call this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.engine import create_engine
from enet_ros.errors import EnetError
from enet_ros.network.model_file import read_model
from enet_ros.resize import fit

OUTPUT_SIZES = ('input', 'network')
ChannelOrder = Literal['rgb', 'bgr']


@dataclass(frozen=True)
class SegmenterConfig:
    """What a segmenter is made of."""

    model: Path
    """Model file of `enet train`."""
    backend: str = 'auto'
    """Engine: auto, tensorrt, torch, torch-compile or openvino."""
    precision: str = 'auto'
    """Type that the engine computes in: auto, fp32, fp16, bf16 or int8."""
    width: int = 0
    """Width in pixels that images are resized to; 0 = what the model was trained at."""
    height: int = 0
    """Likewise the height."""
    classes: tuple[str, ...] = ()
    """Names of the classes to report, every other becomes void; empty = all."""
    output_size: str = 'input'
    """Size of the labels: that of the camera image, or the network's."""


class Segmenter:
    """Segments images of any size, on one thread at a time; `configure` may be called from any other."""

    def __init__(self, config: SegmenterConfig) -> None:
        """Load the model and make its engine.

        Raises:
            EnetError: the model file, the backend, the size, a class or another setting cannot be used; says why.

        """
        self.model = read_model(config.model)
        self.labels = self.model.info.labels
        self.configure(config.classes, config.output_size)
        trained_width, trained_height = self.model.info.training_size
        size = (config.width or trained_width, config.height or trained_height)
        self.engine = create_engine(self.model, size, config.backend, config.precision)

    def configure(self, classes: Sequence[str] | None = None, output_size: str | None = None) -> None:
        """Change, from the next image on, the classes that are reported and the size of the labels; None = as before.

        `classes` and `output_size` mean what they do in `SegmenterConfig`.

        Raises:
            EnetError: a name is no class of the model, or the size is unknown; then nothing is changed.

        """
        if output_size is not None and output_size not in OUTPUT_SIZES:
            raise EnetError(f'output_size "{output_size}" is unknown: choose from {", ".join(OUTPUT_SIZES)}')
        if classes is not None:
            self._table = self.labels.keep_only(classes) if classes else None
        if output_size is not None:
            self._output_size = output_size

    def segment(self, image: NDArray[np.uint8], channels: ChannelOrder) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8, 255 = void) of `image` (H x W x 3, uint8, rows may be padded).

        The labels have the image's size, by nearest neighbour, or the network's: `output_size`. The next call may overwrite
        them.

        Raises:
            ValueError: `image` is not H x W x 3 with at least one pixel, or not uint8.

        """
        if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype != np.uint8:
            raise ValueError(f'image of shape {image.shape} and type {image.dtype}: H x W x 3, uint8, is needed')
        height, width = image.shape[:2]
        size = self.engine.size
        image = fit(image, size)
        if channels == 'bgr':
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        labels = self.engine.infer(np.ascontiguousarray(image))
        if (table := self._table) is not None:  # read once: `configure` may come from another thread
            labels = cv2.LUT(labels, table)
        if self._output_size == 'input' and (width, height) != size:
            labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return labels
