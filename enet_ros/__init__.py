"""Real-time semantic segmentation for ROS 2 with ENet."""

__version__ = '0.1.0'
