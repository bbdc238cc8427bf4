"""Start the segmentation node. `ros2 launch enet_ros segment.launch.py --show-args` lists the arguments."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from enet_ros.ros.parameters import PARAMETERS

SHARE = Path(get_package_share_directory('enet_ros'))
UNSET = ''


def _node(context: LaunchContext) -> list[Node]:
    """Create the node with the parameters that were given: the others must not hide the values of the parameter file."""
    given = {
        parameter.name: ParameterValue(LaunchConfiguration(parameter.name), value_type=parameter.type)
        for parameter in PARAMETERS
        if context.launch_configurations[parameter.name] != UNSET
    }
    given['use_sim_time'] = ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)
    # a logger has the name of its node, with dots instead of slashes
    logger = '.'.join([*filter(None, context.launch_configurations['namespace'].split('/')), 'enet'])
    return [
        Node(
            package='enet_ros',
            executable='segment_node',
            name='enet',
            namespace=LaunchConfiguration('namespace'),
            parameters=[LaunchConfiguration('params_file'), given],
            remappings=[('image', LaunchConfiguration('image_topic'))],
            arguments=['--ros-args', '--log-level', [f'{logger}:=', LaunchConfiguration('log_level')]],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    # a profile that is already set stays
    profile = EnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', default_value=str(SHARE / 'config' / 'fastdds.xml'))
    return LaunchDescription([
        *(
            DeclareLaunchArgument(
                parameter.name, default_value=UNSET, choices=[UNSET, *parameter.choices] if parameter.choices else None,
                # launch adds the choices
                description=f'{parameter.description if parameter.choices else parameter.help}. Default: as in params_file',
            )
            for parameter in PARAMETERS
        ),
        DeclareLaunchArgument('image_topic', default_value='/camera/image_raw',
                              description='Camera topic, without "/compressed" at its end if image_transport is compressed'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node and its topics'),
        DeclareLaunchArgument('params_file', default_value=str(SHARE / 'config' / 'segment.yaml'),
                              description='Parameter file. Arguments given here override its values'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='Take the time from /clock'),
        DeclareLaunchArgument('log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Lowest severity to log'),
        SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile),
        OpaqueFunction(function=_node),
    ])
