"""Start the segmentation node: `ros2 launch enet_ros segment.launch.py --show-args` lists what can be set."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory('enet_ros'))

# Node parameters: name, type, choices, description. Without a value the parameter file's holds.
PARAMETERS = (
    ('model', str, None, 'Model file (.safetensors); empty in the parameter file = the CamVid model of the package'),
    ('backend', str, ('auto', 'tensorrt', 'torch', 'torch-compile', 'openvino'), 'Engine that runs the network'),
    ('precision', str, ('auto', 'fp32', 'fp16', 'bf16', 'int8'), 'Type that the engine computes in'),
    ('width', int, None, "Network width in pixels, a multiple of 8; 0 = the model's"),
    ('height', int, None, "Network height in pixels, a multiple of 8; 0 = the model's"),
    ('classes', str, None, 'Names of the classes to report, separated by commas; others become 255'),
    ('output_size', str, ('input', 'network'), "Size of the labels: that of the camera image, or the network's"),
    ('image_transport', str, ('raw', 'compressed'), 'Type of the camera topic'),
    ('image_reliability', str, ('best_effort', 'reliable'), 'Reliability that is asked of the camera topic'),
    ('overlay_alpha', float, None, 'Share of the class colours in the overlay, 0 to 1'),
)
UNSET = ''


def _node(context: LaunchContext) -> list[Node]:
    """Make the node with those parameters that were given: an argument left out must not hide the parameter file's value."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind, _, _ in PARAMETERS
        if context.launch_configurations[name] != UNSET
    }
    given['use_sim_time'] = ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)
    # a logger's name is that of its node with dots
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
    # a profile that the user has set up stays
    profile = EnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', default_value=str(SHARE / 'config' / 'fastdds.xml'))
    return LaunchDescription([
        *(
            DeclareLaunchArgument(
                name, default_value=UNSET, description=description, choices=[UNSET, *choices] if choices else None
            )
            for name, _, choices, description in PARAMETERS
        ),
        DeclareLaunchArgument('image_topic', default_value='/camera/image_raw',
                              description='Camera topic; with image_transport:=compressed without its last "/compressed"'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node and its topics'),
        DeclareLaunchArgument('params_file', default_value=str(SHARE / 'config' / 'segment.yaml'),
                              description='Parameter file; what is given here on the command line goes before it'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='Take the time from /clock'),
        DeclareLaunchArgument('log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Least severity that is logged'),
        SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile),
        OpaqueFunction(function=_node),
    ])
