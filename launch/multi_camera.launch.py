"""Start one segmentation node for several cameras.

The cameras are those of a YAML list, config/cameras.yaml by default. The other arguments are those of segment.launch.py;
cameras, image_topic and camera_info_topic come from the list.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import SetRemap

from enet_ros.ros.camera_list import read_cameras

SHARE = Path(get_package_share_directory('enet_ros'))


def _connect(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Name the cameras to the node and remap their topics."""
    cameras = read_cameras(Path(context.launch_configurations['cameras_file']))
    return [
        SetLaunchConfiguration('cameras', ', '.join(camera.name for camera in cameras)),
        *(SetRemap(f'{camera.name}/image', camera.image_topic) for camera in cameras),
        *(SetRemap(f'{camera.name}/camera_info', camera.camera_info_topic) for camera in cameras),
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the argument and start the node."""
    return LaunchDescription([
        DeclareLaunchArgument('cameras_file', default_value=str(SHARE / 'config' / 'cameras.yaml'),
                              description='YAML list of the cameras: name, image_topic, camera_info_topic'),
        # a group, so that the remappings are only those of this node
        GroupAction([
            OpaqueFunction(function=_connect),
            IncludeLaunchDescription(str(SHARE / 'launch' / 'segment.launch.py')),
        ]),
    ])
