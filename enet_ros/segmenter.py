"""Camera images in, class ids out. The node, the command line and every evaluation use this class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.errors import EnetError
from enet_ros.images.channels import ChannelOrder, to_rgb
from enet_ros.images.resize import fit
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


class Segmenter:
    """Segments images of any size. One thread may call `segment` while another calls `configure` or `set_confidence`."""

    def __init__(
        self, model: ModelFile, spec: EngineSpec | None = None, *, classes: Sequence[str] = (), output_size: str = 'input'
    ) -> None:
        """Create the engine of `model` for `spec` (default: `EngineSpec()`).

        `classes` and `output_size` are those of `configure`.

        Raises:
            EnetError: the engine cannot be created, or a class or the output size is unknown.

        """
        self.model = model
        self.labels = model.info.labels
        self._output = _Output()
        self.configure(classes, output_size)
        self.engine = create_engine(model, spec)

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

    def set_confidence(self, wanted: bool) -> None:
        """Compute confidence or not, from the next call of `segment` on. Return when that is so.

        Each needs another engine, which this creates, from the cache where possible, while `segment` may use the old one.

        Raises:
            EnetError: the engine cannot be created. The old one stays in use.

        """
        spec = self.engine.spec
        if spec.confidence != wanted:
            self.engine = create_engine(self.model, replace(spec, confidence=wanted))

    def segment(self, image: NDArray[np.uint8], channels: ChannelOrder) -> Segmentation:
        """Return the classes of `image` (H x W x 3, uint8, rows may be padded).

        The result has the image's size, by nearest neighbour, or the network's: `output_size`.

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
        engine, output = self.engine, self._output  # read once: another thread may replace them meanwhile
        spec = engine.spec
        segmentations: list[Segmentation] = []
        for start in range(0, len(images), spec.batch):
            part = images[start : start + spec.batch]
            prediction = engine.infer(self._to_batch(part, channels))
            for index, image in enumerate(part):
                confidence = prediction.confidence
                segmentations.append(Segmentation(
                    _fit_output(prediction.labels[index], output.table, image, output.size),
                    None if confidence is None else _fit_output(confidence[index], None, image, output.size),
                ))
        return segmentations

    def _to_batch(self, images: Sequence[NDArray[np.uint8]], channels: ChannelOrder) -> NDArray[np.uint8]:
        spec = self.engine.spec
        fitted = [to_rgb(fit(image, spec.size), channels) for image in images]
        if spec.batch == 1:
            # not [None], which gives the new axis a stride of 0: torch.compile would compile again for it
            return np.ascontiguousarray(fitted[0]).reshape(1, spec.height, spec.width, 3)
        batch = np.zeros((spec.batch, spec.height, spec.width, 3), np.uint8)  # a part that is not full ends in black images
        for place, image in zip(batch, fitted):
            place[:] = image
        return batch


def _fit_output(
    values: NDArray[np.uint8], table: NDArray[np.uint8] | None, image: NDArray[np.uint8], output_size: str
) -> NDArray[np.uint8]:
    """Return a copy of an engine's `values` (h x w), mapped by `table`, in the size of `image` or in their own."""
    mapped = values if table is None else cv2.LUT(values, table)
    height, width = image.shape[:2]
    if output_size == 'input' and values.shape != (height, width):
        return cv2.resize(mapped, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return values.copy() if mapped is values else mapped
