"""The ROS 2 side: the node, its messages, and a client that replays images to it. Only this package imports rclpy."""
