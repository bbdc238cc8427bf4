"""Which parameter files set nothing, checked against what rcl does with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import rclpy

from enet_ros.ros.parameter_files import unused_parameter_files

BODY = '{ros__parameters: {width: 64}}'


def _nodes_with_parameters(arguments: list[str], nodes: list[str]) -> list[str]:
    """Return which of `nodes`, created for real, take a parameter from the command line."""
    context = rclpy.Context()
    rclpy.init(args=arguments, context=context)
    taken = []
    for name in nodes:
        namespace, _, base = name.rpartition('/')
        node = rclpy.create_node(base, namespace=namespace, context=context,
                                 automatically_declare_parameters_from_overrides=True)
        if node.has_parameter('width'):
            taken.append(name)
        node.destroy_node()
    rclpy.shutdown(context=context)
    return taken


@pytest.mark.parametrize('text', [
    f'enet: {BODY}',
    f'/enet: {BODY}',
    f'front/enet: {BODY}',
    f'/front/enet: {BODY}',
    f'front: {{enet: {BODY}}}',
    f'/: {{enet: {BODY}}}',
    f'robot: {{front: {{enet: {BODY}}}}}',
    f'robot: {{front/enet: {BODY}}}',
    f'robot: {{other: {BODY}, front: {{other: {BODY}, enet: {BODY}}}}}',
    f'/**: {BODY}',
    f'"**": {BODY}',
    f'/*: {BODY}',
    f'"*": {BODY}',
    f'/**/enet: {BODY}',
    f'"**/enet": {BODY}',
    f'/*/enet: {BODY}',
    f'/front/*: {BODY}',
    f'/**/front/**: {BODY}',
    f'/robot: {{"**": {BODY}}}',
    f'/**/ent: {BODY}',
    f'/**/enet2: {BODY}',
    f'/**/front: {BODY}',
    f'Enet: {BODY}',
    f'enet: {BODY}\nother: {BODY}\n/front/enet: {BODY}',
    f'/front/enet: {BODY}\nother: {BODY}\n/front/enet: {BODY}',
])
def test_a_file_is_unused_when_rcl_sets_nothing_from_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(text)
    arguments = ['--ros-args', '--params-file', str(file)]
    nodes = ['/enet', '/front/enet', '/robot/front/enet']
    used = [node for node in nodes if not unused_parameter_files(arguments, node)]
    assert used == _nodes_with_parameters(arguments, nodes)


def test_the_warning_names_the_file_its_keys_and_the_key_to_use(tmp_path: Path) -> None:
    (tmp_path / 'wrong.yaml').write_text(f'enet: {BODY}\ncamera: {{driver: {BODY}}}')
    (tmp_path / 'right.yaml').write_text(f'/**/enet: {BODY}')
    arguments = ['--ros-args', '--params-file', str(tmp_path / 'wrong.yaml'), '-p', 'width:=8',
                 '--params-file', str(tmp_path / 'right.yaml')]
    assert unused_parameter_files(arguments, '/front/enet') == [
        f'{tmp_path / "wrong.yaml"} sets no parameter of /front/enet: it is for /enet, /camera/driver; '
        'use the key /**/enet or /front/enet']


def test_an_empty_set_of_parameters_under_the_right_key_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / 'empty.yaml').write_text('enet: {ros__parameters: {}}')
    assert unused_parameter_files(['--ros-args', '--params-file', str(tmp_path / 'empty.yaml')], '/enet') == []


def test_only_the_arguments_of_ros_count(tmp_path: Path) -> None:
    (tmp_path / 'mine.yaml').write_text(f'other: {BODY}')
    option = ['--params-file', str(tmp_path / 'mine.yaml')]
    assert unused_parameter_files(['node', *option], '/enet') == []
    assert unused_parameter_files(['node', '--ros-args', '--', *option], '/enet') == []
    assert len(unused_parameter_files(['node', '--ros-args', '--', 'x', '--ros-args', *option], '/enet')) == 1


def test_a_pipe_can_be_read_only_once_and_is_not_checked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    assert unused_parameter_files(['--ros-args', '--params-file', str(tmp_path / 'pipe')], '/enet') == []


@pytest.mark.parametrize('text', ['', '# nothing yet\n', '{}\n'], ids=['empty', 'comment', 'mapping'])
def test_a_file_without_content_is_empty(text: str, tmp_path: Path) -> None:
    file = tmp_path / 'none.yaml'
    file.write_text(text)
    arguments = ['--ros-args', '--params-file', str(file)]
    assert _nodes_with_parameters(arguments, ['/enet']) == []  # rcl accepts it
    assert unused_parameter_files(arguments, '/enet') == [
        f'{file} sets no parameter of /enet: it is empty; use the key /**/enet or /enet']
