"""The baseline of every engine: the network in plain PyTorch, operation by operation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.benchmark.case import EAGER
from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.network.inference import DTYPES
from enet_ros.network.model_file import ModelFile
from enet_ros.network.registry import load_network


class EagerEngine:
    """The network as the paper defines it: nothing folded, fused or captured, and PyTorch's default memory layout.

    It has the interface of `Engine`, without the confidence.
    """

    is_new = False

    def __init__(self, model: ModelFile, spec: EngineSpec) -> None:
        """Load `model` for the size, batch and precision (one of `DTYPES`) of `spec`.

        Raises:
            EngineError: the network does not take images of this size.
            ModelFileError: the weights do not fit their architecture.

        """
        self.spec = replace(replace(spec, backend='torch').resolve(model), backend=EAGER)  # the same rules as for torch
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self._dtype = DTYPES[spec.precision]
        self._scores = load_network(model).to(self.device, self._dtype)
        self._mean, self._std = (
            torch.tensor(values, device=self.device, dtype=self._dtype).view(3, 1, 1)
            for values in (model.info.mean, model.info.std)
        )

    @torch.inference_mode()
    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images` (N x H x W x 3, uint8, RGB)."""
        return Prediction(self.network(torch.from_numpy(images).to(self.device)).cpu().numpy())

    def network(self, images: Tensor) -> Tensor:
        """Return the class ids (N x H x W, uint8) of `images` (N x H x W x 3, uint8) on the engine's device."""
        # contiguous: otherwise the camera's layout, channels last, would be kept through the whole network
        planes = images.permute(0, 3, 1, 2).contiguous().to(self._dtype) / 255
        return self._scores((planes - self._mean) / self._std).argmax(1).to(torch.uint8)

    def store(self) -> None:
        """Do nothing: this engine has nothing to cache."""
