from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from enet_ros.errors import EnetError
from enet_ros.images.files import write_image
from enet_ros.images.sources import open_frames
from enet_ros.images.synthetic import draw_scene

STORE = get_typestore(Stores.ROS2_JAZZY)


def write_bag(path: Path, topics: dict[str, str], frames: int, storage: StoragePlugin) -> Path:
    """Write a bag with `frames` drawn images at 5 Hz on each topic, raw or compressed."""
    types = STORE.types
    header, time = types['std_msgs/msg/Header'], types['builtin_interfaces/msg/Time']
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, kind in topics.items():
            connection = writer.add_connection(topic, f'sensor_msgs/msg/{kind}', typestore=STORE)
            for number in range(frames):
                image = draw_scene(number, 48, 32)[0]
                stamp = header(stamp=time(sec=number, nanosec=0), frame_id='camera')
                if kind == 'Image':
                    message = types['sensor_msgs/msg/Image'](
                        header=stamp, height=32, width=48, encoding='rgb8', is_bigendian=0, step=144,
                        data=image[..., ::-1].reshape(-1).copy())
                else:
                    data = cv2.imencode('.png', image)[1]
                    message = types['sensor_msgs/msg/CompressedImage'](header=stamp, format='png', data=data.reshape(-1))
                raw = STORE.serialize_cdr(message, connection.msgtype)
                writer.write(connection, 1_000_000_000 + number * 200_000_000, raw)
    return path


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda s: s.name)
@pytest.mark.parametrize('kind', ['Image', 'CompressedImage'])
def test_a_bag_gives_its_images_with_their_times(kind: str, storage: StoragePlugin, tmp_path: Path) -> None:
    source = open_frames(write_bag(tmp_path / 'drive', {'/image': kind}, 3, storage))
    assert source.count == 3
    for _ in range(2):  # a source can be read again
        frames = list(source)
        assert [frame.name for frame in frames] == ['drive_000000', 'drive_000001', 'drive_000002']
        assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.2, 0.4])
        assert all((frame.decode() == draw_scene(number, 48, 32)[0]).all() for number, frame in enumerate(frames))


def test_a_damaged_message_is_one_frame_less(tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/image', 'sensor_msgs/msg/Image', typestore=STORE)
        writer.write(connection, 1, b'\0\1\0\0cut off')
        writer.write(connection, 2, b'')
    frames = list(open_frames(path))
    assert len(frames) == 2
    for number, frame in enumerate(frames):
        with pytest.raises(EnetError, match=f'drive_00000{number}: the message is damaged') as caught:
            frame.decode()
        assert '\n' not in str(caught.value)


def test_a_damaged_bag_is_one_line(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 40, StoragePlugin.MCAP)
    (file,) = path.glob('*.mcap')
    whole = file.read_bytes()
    for start in range(64, len(whole) - 200, len(whole) // 12):
        file.write_bytes(whole[:start] + b'\xff' * 100 + whole[start + 100 :])
        try:
            for frame in open_frames(path):
                frame.decode()
        except EnetError as error:
            assert '\n' not in str(error)
    metadata = path / 'metadata.yaml'
    metadata.unlink()
    file.write_bytes(whole)
    with pytest.raises(EnetError, match=rf'drive is a bag without metadata.yaml, .*: give {file} itself'):
        open_frames(path)
    assert len(list(open_frames(file))) == 40


def test_a_bag_with_several_image_topics_asks_for_one(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/left': 'Image', '/right': 'Image'}, 2, StoragePlugin.MCAP)
    with pytest.raises(EnetError, match='choose one of /left, /right'):
        open_frames(path)
    assert open_frames(path, '/right').count == 2
    with pytest.raises(EnetError, match='no image topic /up: choose from /left, /right'):
        open_frames(path, '/up')


def test_a_folder_gives_its_images_in_order(tmp_path: Path) -> None:
    for name in ('b.png', 'a.jpg', 'c.PNG'):
        write_image(tmp_path / name, np.full((4, 6, 3), 100, np.uint8))
    (tmp_path / 'notes.txt').write_text('')
    assert [frame.name for frame in open_frames(tmp_path)] == ['a', 'b', 'c']
    assert [frame.name for frame in open_frames(tmp_path / 'b.png')] == ['b']


def test_what_of_a_folder_is_no_png_or_jpeg_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('a.png', 'b.bmp', 'c.tif'):
        write_image(tmp_path / name, np.full((4, 6, 3), 100, np.uint8))
    assert open_frames(tmp_path).count == 1
    assert '2 images in' in caplog.text and 'such as b.bmp: convert them to PNG or JPEG' in caplog.text


def test_a_video_that_breaks_off_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'drive.avi'
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20, (96, 64))
    for number in range(20):
        video.write(draw_scene(number, 96, 64)[0])
    video.release()
    assert len(list(open_frames(path))) == 20 and not caplog.text
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(open_frames(path))
    assert 0 < len(frames) < 20
    assert f'says that it has 20 frames, and {len(frames)} were decoded: is it whole?' in caplog.text


def test_a_video_gives_its_frames_with_their_times(tmp_path: Path) -> None:
    path = str(tmp_path / 'drive.avi')
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 20, (96, 64))
    assert video.isOpened()
    for number in range(4):
        video.write(draw_scene(number, 96, 64)[0])
    video.release()
    frames = list(open_frames(Path(path)))
    assert [frame.name for frame in frames] == [f'drive_{number:06}' for number in range(4)]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert np.abs(frames[3].decode().astype(int) - draw_scene(3, 96, 64)[0]).mean() < 12  # JPEG


@pytest.mark.parametrize(('name', 'content', 'reason'), [
    ('none.png', None, 'no such input: .*none.png'),
    ('x.avi', b'no video', 'x.avi is neither an image'),
    ('x.txt', b'text', 'x.txt is neither an image'),
    ('x.mcap', b'no bag', 'cannot read bag .*x.mcap'),
    ('x.db3', b'', 'cannot read bag .*x.db3'),
])
def test_what_is_no_source_is_named(name: str, content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EnetError, match=reason) as caught:
        list(open_frames(tmp_path / name))
    assert '\n' not in str(caught.value)


def test_an_empty_folder_and_a_topic_without_bag_are_named(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match='no images'):
        open_frames(tmp_path)
    with pytest.raises(EnetError, match='is no bag and has no topics'):
        open_frames(tmp_path, '/image')
