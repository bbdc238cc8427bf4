"""ENet in PyTorch, on an NVIDIA GPU where there is one, else on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from enet_ros.engines.engine import EngineError
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile

_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


class TorchEngine:
    """Eager PyTorch with batch normalisation folded and channels last."""

    backend = 'torch'

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str) -> None:
        """Load `model` for images of `size` (width, height); precision auto is fp32.

        Raises:
            EngineError: the device lacks the precision.
            ModelFileError: the weights do not fit their architecture.

        """
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.precision = 'fp32' if precision == 'auto' else precision
        self.size = size
        if self.precision == 'fp16' and self.device == 'cpu':
            raise EngineError('precision fp16 needs an NVIDIA GPU with backend torch: choose fp32, bf16 or auto')
        if self.precision == 'bf16' and self.device == 'cuda' and not torch.cuda.is_bf16_supported():
            raise EngineError('precision bf16 is not supported by this GPU: choose fp16, fp32 or auto')
        self._network = InferenceNetwork(model).to(
            self.device, _TYPES[self.precision], memory_format=torch.channels_last  # type: ignore[call-overload]
        )  # torch's stubs have no memory_format beside the others

    @torch.inference_mode()
    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB)."""
        labels: NDArray[np.uint8] = self._network(torch.from_numpy(image)[None].to(self.device))[0].cpu().numpy()
        return labels
