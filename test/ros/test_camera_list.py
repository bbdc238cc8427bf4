"""The list of cameras that multi_camera.launch.py reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import ROOT

from enet_ros.errors import UsageError
from enet_ros.ros.camera_list import CameraTopics, read_cameras


def test_camera_info_is_beside_the_image_unless_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'cameras.yaml'
    file.write_text('[{name: a, image_topic: /front/image_raw}, {name: b, image_topic: image}, '
                    '{name: c, image_topic: /c/image, camera_info_topic: /info}]')
    assert read_cameras(file) == [
        CameraTopics('a', '/front/image_raw', '/front/camera_info'),
        CameraTopics('b', 'image', 'camera_info'),
        CameraTopics('c', '/c/image', '/info'),
    ]


def test_the_shipped_list_is_valid() -> None:
    assert [camera.name for camera in read_cameras(ROOT / 'config' / 'cameras.yaml')] == ['front', 'left']


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'must be a list such as'),
    ('a: 1', 'must be a list such as'),
    ('[', 'while parsing'),
    ('2001-01-01 00:00:00 +99:99', 'offset must be'),
    ('[' * 5000, 'more than 100 levels'),
    ('- front', 'entry 1: "front" must have name, image_topic, camera_info_topic'),
    ('- {name: front}', 'entry 1: image_topic is missing'),
    ('- {image_topic: /x}', 'entry 1: name is missing'),
    ('- {name: a, image_topic: /x, topic: /y}', 'entry 1: "topic" is unknown: choose from name, image_topic'),
    ('- {name: a, image_topic: /x}\n- {name: 1, image_topic: /x}', 'entry 2: name is 1: must be text'),
    ('- {name: a, image_topic: /x}\n- {name: a, image_topic: /y}', '"a" occurs twice'),
    ('- {name: front left, image_topic: /x}', '"front left" cannot be part of a topic'),
    ('- {name: "a,b", image_topic: /x}', 'a name has a comma'),
], ids=[
    'empty', 'mapping', 'syntax', 'time', 'nested', 'text', 'no-topic', 'no-name', 'unknown-key', 'number', 'twice', 'space',
    'comma',
])
def test_a_bad_list_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'cameras.yaml').write_text(text)
    with pytest.raises(UsageError) as caught:
        read_cameras(tmp_path / 'cameras.yaml')
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'nothing\.yaml: No such file'):
        read_cameras(tmp_path / 'nothing.yaml')


def test_a_list_that_is_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(UsageError, match='pipe: it is not a regular file'):
        read_cameras(tmp_path / 'pipe')
