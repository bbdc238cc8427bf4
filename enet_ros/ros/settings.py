"""What the node takes from its parameters beyond their plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enet_ros.errors import UsageError, quoted
from enet_ros.labels import parse_names


@dataclass(frozen=True)
class Settings:
    """What can change at run time. Replaced as a whole, so that no image sees half a change."""

    classes: tuple[str, ...]
    """Names of the classes to report; empty = all."""
    output_size: str
    """Size of the outputs: `input` or `network`."""
    overlay_alpha: float
    """Share of the class colours in the overlay, 0 to 1."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings in the values of the node's parameters."""
        return cls(parse_names(values['classes']), values['output_size'], float(values['overlay_alpha']))


def camera_names(text: str) -> tuple[str, ...]:
    """Return the names in the parameter `cameras`; one empty name for a single camera.

    Raises:
        UsageError: a name cannot be part of a topic, or occurs twice.

    """
    names = parse_names(text) or ('',)
    for name in names:
        if name and not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', name):
            raise UsageError(f'cameras: {quoted(name)} cannot be part of a topic: use letters, digits and _, first a letter')
        if names.count(name) > 1:
            raise UsageError(f'cameras: {quoted(name)} occurs twice: give every camera its own name')
    return names
