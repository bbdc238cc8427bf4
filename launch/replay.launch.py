"""Play a bag into the segmentation node, on the time of the bag. Ends with the bag.

The bag is played when the node is active, so that loading the model costs no images. The other arguments are those of
segment.launch.py. Needs rosbag2 (`ros2 bag`).
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.task import Future

SHARE = Path(get_package_share_directory('enet_ros'))
SECONDS_BETWEEN_REQUESTS = 0.2
# time for the node to match the publishers of the bag, which would lose their first images
SECONDS_BEFORE_PLAYING = '1.0'


def _play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start to wait for the node."""
    values = context.launch_configurations
    name = '/'.join(['', *filter(None, values['namespace'].split('/')), values['node_name']])
    return _play_when_active(context, get_ros_node(context).create_client(GetState, f'{name}/get_state'))


def _play_when_active(context: LaunchContext, states: Client,
                      answer: Future | None = None) -> list[LaunchDescriptionEntity]:
    """Play the bag if the node is active, else look again later.

    The state is requested, because the node's message about its transition can come before launch is subscribed to it.
    """
    if answer is not None and answer.done():
        if answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
            loop = ['--loop'] if context.launch_configurations['loop'] == 'true' else []
            return [ExecuteProcess(
                cmd=['ros2', 'bag', 'play', LaunchConfiguration('bag'), '--clock', '100',
                     '--rate', LaunchConfiguration('rate'), '--start-offset', LaunchConfiguration('start_offset'),
                     '--delay', SECONDS_BEFORE_PLAYING, '--disable-keyboard-controls', *loop],
                output='screen',
            )]
        answer = None
    if answer is None and states.service_is_ready():
        answer = states.call_async(GetState.Request())
    again = OpaqueFunction(function=_play_when_active, args=[states, answer])
    return [TimerAction(period=SECONDS_BETWEEN_REQUESTS, actions=[again])]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the node, then play the bag."""
    return LaunchDescription([
        DeclareLaunchArgument('bag', description='Bag to play'),
        DeclareLaunchArgument('rate', default_value='1.0', description='Speed: 2.0 = twice as fast as recorded'),
        DeclareLaunchArgument('start_offset', default_value='0.0',
                              description='Seconds of the bag to leave out at its start'),
        DeclareLaunchArgument('loop', default_value='false', choices=['true', 'false'],
                              description='Play again and again, until interrupted'),
        # of the player or of the node; once, because the other then ends, too
        RegisterEventHandler(OnProcessExit(on_exit=[Shutdown()], handle_once=True)),
        IncludeLaunchDescription(str(SHARE / 'launch' / 'segment.launch.py'),
                                 launch_arguments=[('use_sim_time', 'true')]),
        OpaqueFunction(function=_play),
    ])
