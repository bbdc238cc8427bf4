"""Declare the parameter table on a node, and publish the class table as parameters."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from enet_ros.errors import quoted
from enet_ros.labels import LabelSet
from enet_ros.ros.parameters import PARAMETERS, Changes, NodeParameter

TABLE = {parameter.name: parameter for parameter in PARAMETERS}
CLASS_TABLE = ('class_names', 'class_colors')
_PARAMETERS_OF_ROS = ('use_sim_time', 'start_type_description_service')


def declare_parameters(node: Node) -> None:
    """Declare the table on a node that has declared its overrides, and warn about overrides that are not in the table.

    Raises:
        UsageError: a value is not allowed.

    """
    for name, override in node.get_parameters_by_prefix('').items():
        if name in TABLE:
            TABLE[name].check(override.value)
        elif name in _PARAMETERS_OF_ROS or name.startswith('qos_overrides.'):
            continue
        else:
            node.get_logger().warning(f'unknown parameter {quoted(name)} is ignored: the node has {", ".join(TABLE)}')
        node.undeclare_parameter(name)
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))


def read_parameters(node: Node) -> dict[str, Any]:
    """Return the values of the table by name."""
    return {name: node.get_parameter(name).value for name in TABLE}


def declare_class_table(node: Node, labels: LabelSet) -> None:
    """Declare the read-only parameters `class_names` and `class_colors` (as #rrggbb), in the order of the class ids."""
    remove_class_table(node)
    colors = ['#{:02x}{:02x}{:02x}'.format(*color) for color in labels.colors]
    for name, values in zip(CLASS_TABLE, (list(labels.names), colors)):
        node.declare_parameter(name, values, ParameterDescriptor(
            description=f'{name.replace("_", " ").capitalize()} of the model, in the order of the class ids', read_only=True
        ))


def remove_class_table(node: Node) -> None:
    """Remove these parameters, if they are declared."""
    for name in CLASS_TABLE:
        if node.has_parameter(name):
            node.describe_parameter(name).read_only = False  # a read-only parameter cannot be removed
            node.undeclare_parameter(name)


def _descriptor(parameter: NodeParameter) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows and rclpy checks."""
    constraints = [parameter.constraint] if parameter.choices else []
    if parameter.changes is Changes.UNCONFIGURED:
        constraints.append('can be set while the node is unconfigured')
    descriptor = ParameterDescriptor(
        description=parameter.description,
        additional_constraints='; '.join(constraints),
        read_only=parameter.changes is Changes.NEVER,
        dynamic_typing=parameter.type is float,  # rclpy would refuse whole numbers
    )
    if parameter.range is not None:
        low, high, step = parameter.range.minimum, parameter.range.maximum, parameter.range.step
        if parameter.type is int:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=step)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor
