"""Find parameter files with wrong keys: ROS ignores a file that names other nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from enet_ros.files import read_bytes
from enet_ros.parsing import MAX_YAML_BYTES


def unused_parameter_files(arguments: Sequence[str], node: str) -> list[str]:
    """Return a warning for each parameter file without a key that matches the node.

    The rules are those of rcl and rclpy: keys may be nested and may lack the first slash; `*` is one name and `**` is any
    number of names.

    Args:
        arguments: Command line of the process, which rclpy has accepted: its files exist and are valid.
        node: Fully qualified name, such as /front/enet.

    """
    warnings = []
    for file in _files(arguments):
        try:
            text = read_bytes(file, MAX_YAML_BYTES)
        except OSError:  # a pipe such as that of a shell's <(), which rcl has emptied
            continue
        keys = [f'/{key.removeprefix("/")}' for document in yaml.compose_all(text, yaml.SafeLoader)
                for key in _keys(document)]
        if not any(_matches(key, node) for key in keys):
            wildcard = f'/**/{node.rpartition("/")[2]}'
            reason = f'it is for {", ".join(keys)}' if keys else 'it is empty'
            warnings.append(f'{file} sets no parameter of {node}: {reason}; use the key {wildcard} or {node}')
    return warnings


def _files(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the parameter files of the parts between --ros-args and --."""
    of_ros = False
    for argument, value in pairwise(arguments):
        if argument in ('--ros-args', '--'):
            of_ros = argument == '--ros-args'
        elif of_ros and argument == '--params-file':
            yield Path(value)


def _keys(node: yaml.Node | None, prefix: str = '') -> Iterator[str]:
    """Yield the path to each ros__parameters. The document tree keeps repeated keys, which rcl accepts."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value.startswith('ros__parameters'):
            yield prefix
        else:
            yield from _keys(value, f'{prefix}/{key.value}' if prefix and not prefix.endswith('/') else prefix + key.value)


def _matches(key: str, node: str) -> bool:
    # "/**" becomes "(/\w+)*"
    return re.fullmatch(key.replace('/*', r'(/\w+)'), node, re.ASCII) is not None
