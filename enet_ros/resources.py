"""Find the files that the package installs beside its code: models, launch files, configuration."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

PACKAGE = 'enet_ros'


def share_folder() -> Path:
    """Return the share folder: from the ament index in a ROS workspace, else where pip put it, else the source checkout."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE))
    except (ImportError, OSError, LookupError):  # no ROS; AMENT_PREFIX_PATH unset; not in the index
        return _installed_share() or Path(__file__).parents[1]


def _installed_share() -> Path | None:
    """Return the share folder of the pip installation, whichever prefix it went to, or None where pip installed nothing."""
    # all: the egg-info that building leaves in a checkout can hide the installation
    for distribution in distributions(name=PACKAGE):
        for file in distribution.files or ():
            if file.parts[-3:] == ('share', PACKAGE, 'package.xml'):
                return Path(str(file.locate())).resolve().parent
    return None


def default_model() -> Path:
    """Return the model file that the package ships, trained on CamVid."""
    return share_folder() / 'models' / 'enet_camvid.safetensors'
