"""Camera images in, class ids out. The node, the command line and every evaluation use this class."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.errors import EnetError
from enet_ros.images.channels import ChannelOrder, to_rgb
from enet_ros.images.resize import RESIZE_MODES, Placement, place
from enet_ros.labels import VOID
from enet_ros.network.model_file import ModelFile

OUTPUT_SIZES = ('input', 'network')


@dataclass(frozen=True)
class Segmentation:
    """The classes of one image. The arrays belong to the caller."""

    labels: NDArray[np.uint8]
    """H x W class ids, 255 = void."""
    confidence: NDArray[np.uint8] | None
    """H x W probabilities of the winning class, 0 to 255 for 0 to 1; None for an engine without confidence."""


@dataclass(frozen=True)
class _Output:
    """How predictions become segmentations. Replaced as a whole, so that no image sees half a change."""

    table: NDArray[np.uint8] | None = None
    """256 class ids that replace those of the network; None = no change."""
    size: str = 'input'
    resize_mode: str = 'stretch'


class Segmenter:
    """Segments images of any size. One thread may call `segment` while another calls `configure` or `set_confidence`."""

    def __init__(
        self, model: ModelFile, spec: EngineSpec | None = None, *, classes: Sequence[str] = (), output_size: str = 'input',
        resize_mode: str = 'stretch',
    ) -> None:
        """Create the engine of `model` for `spec` (default: `EngineSpec()`).

        `classes` and `output_size` are those of `configure`, `resize_mode` is that of `images.resize.place`.

        Raises:
            EnetError: the engine cannot be created, or a class, the output size or the resize mode is unknown.

        """
        if resize_mode not in RESIZE_MODES:
            raise EnetError(f'resize_mode "{resize_mode}" is unknown: choose from {", ".join(RESIZE_MODES)}')
        self.model = model
        self.labels = model.info.labels
        self._output = _Output(resize_mode=resize_mode)
        self.configure(classes, output_size)
        self.engine = create_engine(model, spec)
        self._segmenting = threading.RLock()

    def configure(self, classes: Sequence[str] | None = None, output_size: str | None = None) -> None:
        """Change the output from the next image on. None keeps a setting.

        Args:
            classes: Names of the classes to report, the others become void; empty = all.
            output_size: `input` for labels in the size of the image, `network` for the size of the network.

        Raises:
            EnetError: a class or the size is unknown. Nothing is changed then.

        """
        output = self._output
        if output_size is not None:
            if output_size not in OUTPUT_SIZES:
                raise EnetError(f'output_size "{output_size}" is unknown: choose from {", ".join(OUTPUT_SIZES)}')
            output = replace(output, size=output_size)
        if classes is not None:
            output = replace(output, table=self.labels.keep_only(classes) if classes else None)
        self._output = output

    def placement(self, image_size: tuple[int, int]) -> Placement:
        """Return where the network sees images of this width and height."""
        return place(image_size, self.engine.spec.size, self._output.resize_mode)

    def set_confidence(self, wanted: bool) -> None:
        """Compute confidence or not, from the next call of `segment` on. Return when that is so.

        Each needs another engine, which this creates, from the cache where possible, while `segment` uses the old one. The
        old one is released at the end.

        Raises:
            EnetError: the engine cannot be created. The old one stays in use.

        """
        old = self.engine
        if old.spec.confidence == wanted:
            return
        self.engine = create_engine(self.model, replace(old.spec, confidence=wanted))
        with self._segmenting:
            pass  # waits for a call that uses the old engine: its release takes time, which the other thread must not spend

    def segment(self, image: NDArray[np.uint8], channels: ChannelOrder) -> Segmentation:
        """Return the classes of `image` (H x W x 3, uint8, rows may be padded).

        The result has the image's size, by nearest neighbour, or the network's: `output_size`. Where there is no prediction
        for a pixel, its label is 255 and its confidence 0: outside of the part that `crop` shows to the network, and, in the
        network's size, for the padding of `letterbox`.

        Raises:
            ValueError: `image` is not H x W x 3 with at least one pixel, or not uint8.

        """
        return self.segment_all([image], channels)[0]

    def segment_all(self, images: Sequence[NDArray[np.uint8]], channels: ChannelOrder) -> list[Segmentation]:
        """Return the classes of several images, whose sizes may differ, as many at a time as the engine takes.

        Raises:
            ValueError: as `segment`.

        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype != np.uint8:
                raise ValueError(f'image has shape {image.shape} and type {image.dtype}: must be H x W x 3, uint8')
        with self._segmenting:
            return self._segment_all(images, channels)

    def _segment_all(self, images: Sequence[NDArray[np.uint8]], channels: ChannelOrder) -> list[Segmentation]:
        engine, output = self.engine, self._output  # read once: another thread may replace them meanwhile
        spec = engine.spec
        segmentations: list[Segmentation] = []
        for start in range(0, len(images), spec.batch):
            part = images[start : start + spec.batch]
            placements = [place((image.shape[1], image.shape[0]), spec.size, output.resize_mode) for image in part]
            prediction = engine.infer(self._to_batch(part, placements, channels))
            for index, placement in enumerate(placements):
                labels, confidence = prediction.labels[index], prediction.confidence
                mapped = labels if output.table is None else cv2.LUT(labels, output.table)
                segmentations.append(Segmentation(
                    _fit_output(mapped, placement, output.size, VOID),
                    None if confidence is None else _fit_output(confidence[index], placement, output.size, 0),
                ))
        return segmentations

    def _to_batch(
        self, images: Sequence[NDArray[np.uint8]], placements: Sequence[Placement], channels: ChannelOrder
    ) -> NDArray[np.uint8]:
        spec = self.engine.spec
        fitted = [to_rgb(placement.to_network(image), channels) for image, placement in zip(images, placements)]
        if spec.batch == 1:
            # not [None], which gives the new axis a stride of 0: torch.compile would compile again for it
            return np.ascontiguousarray(fitted[0]).reshape(1, spec.height, spec.width, 3)
        batch = np.zeros((spec.batch, spec.height, spec.width, 3), np.uint8)  # a part that is not full ends in black images
        for row, image in zip(batch, fitted):
            row[:] = image
        return batch


def _fit_output(values: NDArray[np.uint8], placement: Placement, output_size: str, outside: int) -> NDArray[np.uint8]:
    """Return the network's `values` (h x w) in the output size as an array of its own, `outside` where it saw no image."""
    fitted = placement.to_image(values, outside) if output_size == 'input' else placement.without_padding(values, outside)
    return fitted if fitted.flags.owndata else fitted.copy()  # a view of what the next call of the engine overwrites
