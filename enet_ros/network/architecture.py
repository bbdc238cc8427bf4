"""The networks that there are and their options; free of torch, for those who only read model files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

SIZE_MULTIPLE = 8
"""Image width and height must be multiples of this: ENet's encoder halves three times."""


@dataclass(frozen=True)
class ENetArchitecture:
    """What the paper leaves open about ENet; stored in the model file.

    Raises:
        ValueError: a value outside its domain.

    """

    smallest_side: ClassVar[int] = SIZE_MULTIPLE
    """Width and height in pixels that an image must have at the least."""
    network: Literal['enet'] = field(default='enet', init=False)
    """Name of the network, as in recipes and model files."""
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
        _check_classes('ENet', self.classes)
        if self.decoder_activation not in ('prelu', 'relu'):
            raise ValueError(f'decoder_activation is "{self.decoder_activation}": choose prelu or relu')
        if not 0 <= self.decoder_dropout < 1:
            raise ValueError(f'decoder_dropout is {self.decoder_dropout}: choose a probability from 0 to below 1')
        if self.last_kernel not in (2, 3):
            raise ValueError(f'last_kernel is {self.last_kernel}: choose 2 or 3')


@dataclass(frozen=True)
class SegNetArchitecture:
    """SegNet in its VGG16 form, the paper's baseline, leaves nothing open; stored in the model file.

    Raises:
        ValueError: a value outside its domain.

    """

    smallest_side: ClassVar[int] = 32
    """Width and height in pixels that an image must have at the least: the encoder halves five times."""
    network: Literal['segnet'] = field(default='segnet', init=False)
    """Name of the network, as in recipes and model files."""
    classes: int
    """Number of classes, 1 to 255."""

    def __post_init__(self) -> None:
        """Refuse what no SegNet can be built from."""
        _check_classes('SegNet', self.classes)


Architecture = ENetArchitecture | SegNetArchitecture

ARCHITECTURES: dict[str, type[Architecture]] = {kind.network: kind for kind in (ENetArchitecture, SegNetArchitecture)}
"""By the names of their networks."""


def _check_classes(name: str, classes: int) -> None:
    if not isinstance(classes, int) or not 1 <= classes <= 255:
        raise ValueError(f'classes is {classes}: {name} takes 1 to 255 classes')
