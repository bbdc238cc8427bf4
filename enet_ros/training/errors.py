"""What goes wrong in a training run."""

from __future__ import annotations

from enet_ros.errors import EnetError


class TrainingError(EnetError):
    """A run that cannot start or go on, and why."""
