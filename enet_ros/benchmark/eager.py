"""The peer of every engine: the network as it is defined, in plain PyTorch, operation by operation."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.network.model_file import ModelFile
from enet_ros.network.registry import load_network


class EagerEngine:
    """Nothing folded, fused, captured or laid out: what a reader of the paper would write first."""

    backend = 'torch-eager'

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str, batch: int) -> None:
        """Load `model` for `batch` images of `size` (width, height) in `precision`, fp32 or fp16."""
        self.size, self.precision, self.batch = size, precision, batch
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        dtype = torch.float16 if self.precision == 'fp16' else torch.float32
        self._network = load_network(model).to(self.device, dtype)
        self._mean, self._std = (
            torch.tensor(values, device=self.device, dtype=dtype).view(3, 1, 1)
            for values in (model.info.mean, model.info.std)
        )
        self._image = torch.zeros(batch, size[1], size[0], 3, dtype=torch.uint8, device=self.device)

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB), or of a batch of them."""
        self._image = torch.from_numpy(image).reshape(self._image.shape).to(self.device)
        labels: NDArray[np.uint8] = self._run().cpu().numpy()
        return labels.reshape(image.shape[:-1])

    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the last image, without copies to and from a GPU."""
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._run()
            if self.device == 'cuda':
                torch.cuda.synchronize()
            times.append(1e3 * (time.perf_counter() - start))
        return times

    @torch.inference_mode()
    def _run(self) -> Tensor:
        # contiguous, PyTorch's default: else the pixels' layout, channels last, would go through the whole network
        planes = self._image.permute(0, 3, 1, 2).contiguous().to(self._mean.dtype) / 255
        return self._network((planes - self._mean) / self._std).argmax(1).to(torch.uint8)
