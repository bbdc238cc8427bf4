"""The options of ENet's architecture; free of torch, for those who only read model files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SIZE_MULTIPLE = 8
"""Image width and height must be multiples of this: the encoder halves three times."""


@dataclass(frozen=True)
class Architecture:
    """What the paper leaves open about ENet; stored in the model file.

    Raises:
        ValueError: a value outside its domain.

    """

    classes: int
    """Number of classes, 1 to 255."""
    decoder_activation: Literal['prelu', 'relu'] = 'prelu'
    """The paper names PReLU throughout; the authors' release has ReLU in the decoder."""
    decoder_dropout: float = 0.1
    """Spatial dropout probability in stages 4 and 5 (paper: 0.1 after bottleneck 2.0), 0 to below 1."""
    last_kernel: Literal[2, 3] = 3
    """Kernel of the last transposed convolution; 3 matches the paper's 0.37 M parameters, 2 the authors' release."""

    def __post_init__(self) -> None:
        """Refuse what no ENet can be built from."""
        if not isinstance(self.classes, int) or not 1 <= self.classes <= 255:
            raise ValueError(f'classes is {self.classes}: ENet takes 1 to 255 classes')
        if self.decoder_activation not in ('prelu', 'relu'):
            raise ValueError(f'decoder_activation is "{self.decoder_activation}": choose prelu or relu')
        if not 0 <= self.decoder_dropout < 1:
            raise ValueError(f'decoder_dropout is {self.decoder_dropout}: choose a probability from 0 to below 1')
        if self.last_kernel not in (2, 3):
            raise ValueError(f'last_kernel is {self.last_kernel}: choose 2 or 3')
