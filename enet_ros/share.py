"""Find the files that the package installs beside its code: models, launch files, configuration."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = 'enet_ros'


def share_folder() -> Path:
    """Return the share folder: from the ament index in a ROS workspace, else of this Python, else the source checkout."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE))
    except (ImportError, OSError, LookupError):  # no ROS; AMENT_PREFIX_PATH unset; not in the index
        installed = Path(sys.prefix) / 'share' / PACKAGE
        return installed if installed.is_dir() else Path(__file__).parents[1]


def default_model() -> Path:
    """Return the model file that the package ships, trained on CamVid."""
    return share_folder() / 'models' / 'enet_camvid.safetensors'
