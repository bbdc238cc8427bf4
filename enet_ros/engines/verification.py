"""Hold an engine that was built against PyTorch, before anybody relies on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from enet_ros.engines.engine import Engine, EngineError
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.scene import draw_scene

MINIMUM = {'fp32': 0.995, 'fp16': 0.995, 'bf16': 0.95, 'int8': 0.75}
"""Share of pixels whose labels must be PyTorch's. Rounding turns pixels where two classes score alike: with the CamVid model
half turns up to 0.3 % of them. What is built wrong turns far more. Int8 is calibrated with photographs and errs on drawings:
of that model it leaves 97 % of the labels of CamVid's images as they were and 88 % of these. So its bound only finds what is
broken, and `enet evaluate` tells what quantisation costs."""


def check_images(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield images (H x W x 3, uint8, RGB) of `size`, none of which any engine is traced or calibrated with.

    Drawn scenes, which every installation has, show all classes in their places, noise what no scene reaches.
    """
    for number in (7, 41, 90):
        yield np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1])
    yield np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)


def verify(engine: Engine, model: ModelFile) -> float:
    """Return the share of pixels to which `engine` gives the label that PyTorch does, in float32 and on the CPU.

    Raises:
        EngineError: the share is below the precision's `MINIMUM`.

    """
    network = InferenceNetwork(model)
    shares: list[float] = []
    with torch.inference_mode():
        for image in check_images(engine.size):
            expected = network(torch.from_numpy(image)[None])[0].numpy()
            if engine.batch == 1:
                labels = engine.infer(image)
            else:  # among others, each time in another place
                images = np.zeros((engine.batch, *image.shape), np.uint8)
                images[place := len(shares) % engine.batch] = image
                labels = engine.infer(images)[place]
            shares.append(float((labels == expected).mean()))
    share = sum(shares) / len(shares)
    if share < (least := MINIMUM[engine.precision]):
        raise EngineError(
            f'backend {engine.backend} in {engine.precision} gives only {100 * share:.2f} % of the pixels the labels of '
            f'PyTorch, {100 * least:.1f} % are needed: choose another precision or backend'
        )
    return share
