"""Check a newly built engine against PyTorch before use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from enet_ros.engines.base import Engine
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile

MINIMUM = {'fp32': 0.995, 'fp16': 0.995, 'bf16': 0.95, 'int8': 0.75}
"""Share of pixels that must have PyTorch's label. Rounding changes pixels where two classes score alike: with the CamVid
model, half precision changes up to 0.3 % of them. A wrongly built engine changes far more. Int8 is calibrated with
photographs and is worse on drawings: with that model it keeps 97 % of the labels of CamVid images and 88 % of these. This
bound only finds broken engines; `enet evaluate` measures what quantisation costs."""
CONFIDENCE_TOLERANCE = 2
"""Steps of 1/255 by which the confidence may differ from PyTorch's, for fp32 and fp16. Coarser types are not checked."""
CONFIDENCE_MINIMUM = {'fp32': 0.99, 'fp16': 0.9}
"""Share of pixels whose confidence must be within the tolerance."""


def check_images(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield images (H x W x 3, uint8, RGB) of `size`. No engine is traced or calibrated with them.

    Every installation can draw these scenes, which show all classes in their places; noise reaches values they do not.
    """
    for number in (7, 41, 90):
        yield np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1])
    yield np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)


def verify(engine: Engine, model: ModelFile) -> float:
    """Return the share of pixels that get the same label from `engine` as from PyTorch in float32 on the CPU.

    Raises:
        EngineError: the share is below the precision's `MINIMUM`, or the confidence differs too much.

    """
    spec = engine.spec
    network = InferenceNetwork(model, confidence=True)
    same: list[float] = []
    close: list[float] = []
    with torch.inference_mode():
        for number, image in enumerate(check_images(spec.size)):
            labels, confidence = (output[0].numpy() for output in network(torch.from_numpy(image)[None]))
            images = np.zeros((spec.batch, *image.shape), np.uint8)
            images[place := number % spec.batch] = image  # in a batch, each time at another place
            prediction = engine.infer(images)
            same.append(float((prediction.labels[place] == labels).mean()))
            if prediction.confidence is not None:
                difference = np.abs(prediction.confidence[place].astype(int) - confidence)
                close.append(float((difference <= CONFIDENCE_TOLERANCE).mean()))
    share = sum(same) / len(same)
    checks = [('labels', share, MINIMUM[spec.precision])]
    if close and spec.precision in CONFIDENCE_MINIMUM:
        checks.append(('confidence', sum(close) / len(close), CONFIDENCE_MINIMUM[spec.precision]))
    for what, found, least in checks:
        if found < least:
            more = 'calibrate with more or other images, or ' if spec.precision == 'int8' else ''
            raise EngineError(
                f'backend {spec.backend} in {spec.precision} gives only {100 * found:.2f} % of the pixels the same '
                f'{what} as PyTorch; at least {100 * least:.1f} % are required: {more}choose another precision or backend'
            )
    return share
