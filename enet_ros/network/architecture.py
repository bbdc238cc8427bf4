"""The networks of this package and their options. Free of PyTorch, for code that only reads model files.

This is the list of networks: `registry.py` has the PyTorch module of each entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

SIZE_MULTIPLE = 8
"""Image width and height must be multiples of this: ENet's encoder halves them three times."""
LARGEST_SIDE = 8192
"""Largest width and height of a network, in pixels: 8K video is 7680x4320."""


def is_valid_size(size: tuple[int, int], smallest: int = SIZE_MULTIPLE) -> bool:
    """Return whether width and height are multiples of `SIZE_MULTIPLE` from `smallest` to `LARGEST_SIDE`, in pixels."""
    return all(smallest <= side <= LARGEST_SIDE and side % SIZE_MULTIPLE == 0 for side in size)


def describe_sizes(near: tuple[int, int], smallest: int = SIZE_MULTIPLE) -> str:
    """Return the size rule for an error message, with the valid size that is nearest to `near` (width, height)."""
    width, height = (min(max(smallest, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE), LARGEST_SIDE) for side in near)
    return (f'width and height must be multiples of {SIZE_MULTIPLE}, at least {smallest}, for example {width}x{height}, '
            f'and at most {LARGEST_SIDE}')


@dataclass(frozen=True)
class ENetArchitecture:
    """The options of ENet that the paper leaves open. Stored in the model file.

    Raises:
        ValueError: a value is outside its domain.

    """

    title: ClassVar[str] = 'ENet'
    """How the paper writes the network's name."""
    smallest_side: ClassVar[int] = SIZE_MULTIPLE
    """Smallest width and height of an image, in pixels."""
    network: Literal['enet'] = field(default='enet', init=False)
    """Name of the network in recipes and model files."""
    classes: int
    """Number of classes, 1 to 255."""
    decoder_activation: Literal['prelu', 'relu'] = 'prelu'
    """The paper names PReLU throughout; the authors' release has ReLU in the decoder."""
    decoder_dropout: float = 0.1
    """Spatial dropout probability in stages 4 and 5, in [0, 1); the paper has 0.1 after bottleneck 2.0."""
    last_kernel: Literal[2, 3] = 3
    """Kernel of the last transposed convolution: 3 matches the paper's 0.37 M parameters, 2 the authors' release."""

    def __post_init__(self) -> None:
        """Check the options."""
        _check_classes(self.title, self.classes)
        if self.decoder_activation not in ('prelu', 'relu'):
            raise ValueError(f'decoder_activation is "{self.decoder_activation}": choose prelu or relu')
        if not 0 <= self.decoder_dropout < 1:
            raise ValueError(f'decoder_dropout is {self.decoder_dropout}: must be in [0, 1)')
        if not isinstance(self.last_kernel, int) or self.last_kernel not in (2, 3):
            raise ValueError(f'last_kernel is {self.last_kernel}: choose 2 or 3')


@dataclass(frozen=True)
class SegNetArchitecture:
    """SegNet in its VGG16 form, the paper's baseline. It has no options. Stored in the model file.

    Raises:
        ValueError: a value is outside its domain.

    """

    title: ClassVar[str] = 'SegNet'
    """How the paper writes the network's name."""
    smallest_side: ClassVar[int] = 32
    """Smallest width and height of an image, in pixels: the encoder halves them five times."""
    network: Literal['segnet'] = field(default='segnet', init=False)
    """Name of the network in recipes and model files."""
    classes: int
    """Number of classes, 1 to 255."""

    def __post_init__(self) -> None:
        """Check the options."""
        _check_classes(self.title, self.classes)


Architecture = ENetArchitecture | SegNetArchitecture

ARCHITECTURES: dict[str, type[Architecture]] = {kind.network: kind for kind in (ENetArchitecture, SegNetArchitecture)}
"""The architectures by network name."""


def _check_classes(title: str, classes: int) -> None:
    if not isinstance(classes, int) or not 1 <= classes <= 255:
        raise ValueError(f'classes is {classes}: {title} must have 1 to 255 classes')
