"""Start the segmentation node. `ros2 launch enet_ros segment.launch.py --show-args` lists the arguments."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from enet_ros.ros.camera_list import beside
from enet_ros.ros.parameters import PARAMETERS, NodeParameter

SHARE = Path(get_package_share_directory('enet_ros'))
UNSET = ''
BOOLEANS = ['true', 'false']


def _argument(parameter: NodeParameter) -> DeclareLaunchArgument:
    choices = BOOLEANS if parameter.type is bool else parameter.choices
    # launch adds the choices
    description = parameter.description if choices else parameter.help
    return DeclareLaunchArgument(parameter.name, default_value=UNSET, choices=[UNSET, *choices] if choices else None,
                                 description=f'{description}. Default: as in params_file')


def _node(context: LaunchContext) -> list[Node]:
    """Create the node with the parameters that were given: the others must not hide the values of the parameter file.

    A LifecycleNode action is not needed: the node starts itself, and with autostart:=false it waits for a lifecycle manager
    or `ros2 lifecycle`. The action only lets launch files request transitions.
    """
    values = context.launch_configurations
    types = {parameter.name: parameter.type for parameter in PARAMETERS} | {'use_sim_time': bool}
    given = {name: ParameterValue(LaunchConfiguration(name), value_type=type_)
             for name, type_ in types.items() if values[name] != UNSET}
    image_topic = values['image_topic']
    camera_info_topic = values['camera_info_topic'] or beside(image_topic, 'camera_info')
    # a logger has the name of its node, with dots instead of slashes
    logger = '.'.join([*filter(None, values['namespace'].split('/')), values['node_name']])
    return [
        Node(
            package='enet_ros',
            executable='segment_node',
            name=LaunchConfiguration('node_name'),
            namespace=LaunchConfiguration('namespace'),
            parameters=[LaunchConfiguration('params_file'), given],
            remappings=[('image', image_topic), ('camera_info', camera_info_topic)],
            arguments=['--ros-args', '--log-level', f'{logger}:={values["log_level"]}'],
            respawn=values['respawn'] == 'true',
            respawn_delay=2.0,
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    # a profile that is already set stays
    profile = EnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', default_value=str(SHARE / 'config' / 'fastdds.xml'))
    return LaunchDescription([
        *(_argument(parameter) for parameter in PARAMETERS),
        DeclareLaunchArgument('image_topic', default_value='/camera/image_raw',
                              description='Camera topic, without "/compressed" at its end if image_transport is compressed. '
                                          'Not used with cameras: multi_camera.launch.py remaps the topic of each'),
        DeclareLaunchArgument('camera_info_topic', default_value='',
                              description='CameraInfo topic. Default: camera_info beside image_topic'),
        DeclareLaunchArgument('node_name', default_value='enet', description='Name of the node'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node and its topics'),
        DeclareLaunchArgument('params_file', default_value=str(SHARE / 'config' / 'segment.yaml'),
                              description='Parameter file. Arguments given here override its values'),
        DeclareLaunchArgument('use_sim_time', default_value=UNSET, choices=[UNSET, *BOOLEANS],
                              description='Take the time from /clock. Default: as in params_file, else false'),
        DeclareLaunchArgument('respawn', default_value='false', choices=BOOLEANS,
                              description='Start the node again 2 s after it has ended'),
        DeclareLaunchArgument('log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Lowest severity to log'),
        SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile),
        OpaqueFunction(function=_node),
    ])
