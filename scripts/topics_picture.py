"""Draw docs/topics.png: the images that a running node publishes for a drawn scene, as an image display shows them.

Start the node first: ros2 run enet_ros segment_node
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.images.files import write_image
from enet_ros.images.messages import ImageReader
from enet_ros.images.synthetic import draw_scene
from enet_ros.ros.messages import to_message

TOPICS = ('/enet/labels', '/enet/color', '/enet/overlay')


def receive(node: Node, image: NDArray[np.uint8]) -> dict[str, Image]:
    """Publish `image` (H x W x 3, uint8, BGR) until there is a message of each topic, and return these by topic."""
    camera = node.create_publisher(Image, 'image', 1)
    messages: dict[str, Image] = {}

    def subscribe(topic: str) -> None:
        node.create_subscription(Image, topic, lambda message: messages.update({topic: message}), 1)

    for topic in TOPICS:
        subscribe(topic)
    while len(messages) < len(TOPICS):
        camera.publish(to_message(image, 'bgr8', Header()))
        rclpy.spin_once(node, timeout_sec=0.2)
    return messages


def main() -> None:
    """Read the arguments and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('docs/topics.png'), metavar='FILE',
                        help='picture to write (default: %(default)s)')
    arguments = parser.parse_args()
    rclpy.init()
    messages = receive(rclpy.create_node('topics_picture'), draw_scene(30, 320, 240)[0])
    rclpy.shutdown()
    columns = []
    for topic in TOPICS:
        pixels, channels = ImageReader().read(messages[topic])
        title = np.full((28, pixels.shape[1], 3), 255, np.uint8)
        cv2.putText(title, f'{topic} ({messages[topic].encoding})', (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1,
                    cv2.LINE_AA)
        columns.append(np.concatenate((title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if channels == 'rgb' else pixels)))
    write_image(arguments.out, np.concatenate(columns, 1))


if __name__ == '__main__':
    main()
