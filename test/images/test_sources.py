from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import NO_STAMP, STORE, cut, write_bag, write_mcap, write_video
from rosbags.rosbag2 import StoragePlugin, Writer

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError
from enet_ros.images.files import write_image
from enet_ros.images.sources import open_frames
from enet_ros.images.synthetic import draw_scene

GREY = np.full((4, 6, 3), 100, np.uint8)


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda s: s.name)
@pytest.mark.parametrize('kind', ['Image', 'CompressedImage'])
def test_frames_of_a_bag_have_image_time_topic_and_stamp(kind: str, storage: StoragePlugin, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': kind}, 3, storage)
    source = open_frames(path)
    assert source.count == 3
    for _ in range(2):  # a source can be read again
        frames = list(source)
        assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.2, 0.4])
        assert [(frame.path, frame.topic) for frame in frames] == [(path, '/image')] * 3
        assert [frame.stamp for frame in frames] == [(1, 500), (2, 500), (3, 500)]
        assert all((frame.decode() == draw_scene(number, 48, 32)[0]).all() for number, frame in enumerate(frames))


def test_frames_of_a_bag_are_named_after_their_stamp(tmp_path: Path) -> None:
    stamps = [(1690000000, 50), (1690000000, 999_999_999), (1690000001, 0)]
    frames = open_frames(write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3, stamps=stamps))
    assert [frame.name for frame in frames] == [
        'drive_1690000000_000000050', 'drive_1690000000_999999999', 'drive_1690000001_000000000',
    ]


def test_frames_without_a_stamp_are_named_after_the_time_when_they_were_recorded(tmp_path: Path) -> None:
    frames = list(open_frames(write_bag(tmp_path / 'drive', {'/image': 'Image'}, 2, stamps=[NO_STAMP, NO_STAMP])))
    assert [frame.name for frame in frames] == ['drive_100_000000000', 'drive_100_200000000']
    assert [frame.stamp for frame in frames] == [(100, 0), (100, 200_000_000)]


def test_frames_with_a_repeated_stamp_have_different_names(tmp_path: Path) -> None:
    source = open_frames(write_bag(tmp_path / 'drive', {'/image': 'Image'}, 4, stamps=[(7, 1), (7, 1), (8, 1), (7, 1)]))
    names = [frame.name for frame in source]
    assert names == ['drive_7_000000001', 'drive_7_000000001_2', 'drive_8_000000001', 'drive_7_000000001_3']
    assert source.pattern is not None and all(source.pattern.fullmatch(name) for name in names)


def test_a_damaged_message_is_one_frame_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/image', 'sensor_msgs/msg/Image', typestore=STORE)
        writer.write(connection, 5, b'\0\1\0\0cut off')
    (frame,) = open_frames(path)
    assert frame.name == 'drive_0_000000005'
    with pytest.raises(ImageMessageError, match='drive_0_000000005: the message is damaged') as caught:
        frame.decode()
    assert '\n' not in str(caught.value)


def test_an_unfinished_recording_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 12, chunk_size=None, finish=False)
    frames = []
    with pytest.raises(IncompleteInputError, match=r'drive\.mcap is an incomplete recording: 12 messages were read'):
        for frame in open_frames(path):
            frames.append(frame)
    assert [frame.name for frame in frames][:2] == ['drive_1_000000500', 'drive_2_000000500']
    assert (frames[3].decode() == draw_scene(3, 48, 32)[0]).all()


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda s: s.name)
def test_a_folder_of_recordings_without_metadata_says_what_to_pass(storage: StoragePlugin, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3, storage)
    (path / 'metadata.yaml').unlink()
    (file,) = path.iterdir()
    with pytest.raises(EnetError, match=f'incomplete recording; pass {file} directly'):
        open_frames(path)
    assert len(list(open_frames(file))) == 3


def test_a_folder_gives_its_images_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('b.png', 'a.jpg', 'c.PNG'):
        write_image(tmp_path / name, GREY)
    (tmp_path / 'notes.txt').write_text('')
    (tmp_path / '.hidden').mkdir()
    frames = list(open_frames(tmp_path))
    assert [(frame.name, frame.path.name, frame.topic, frame.stamp) for frame in frames] == [
        ('a', 'a.jpg', '', None), ('b', 'b.png', '', None), ('c', 'c.PNG', '', None),
    ]
    assert [frame.name for frame in open_frames(tmp_path / 'b.png')] == ['b']
    assert not caplog.text


def test_images_of_other_formats_in_a_folder_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('a.png', 'b.bmp', 'c.tif'):
        write_image(tmp_path / name, GREY)
    assert open_frames(tmp_path).count == 1
    (record,) = caplog.records
    assert '2 images' in record.message and 'b.bmp' in record.message and 'PNG or JPEG' in record.message


def test_sub_folders_are_reported_once_with_an_example(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('a.png', 'left/a.png', 'right/a.png', 'right/b.png'):
        write_image(tmp_path / name, GREY)
    assert open_frames(tmp_path).count == 1
    (record,) = caplog.records
    assert '2 sub-folders' in record.message and 'such as left' in record.message


def test_a_folder_with_only_sub_folders_names_one_to_pass(tmp_path: Path) -> None:
    write_image(tmp_path / 'left' / 'a.png', GREY)
    with pytest.raises(EnetError, match=f'no images in {tmp_path}, but 1 sub-folders: .* {tmp_path / "left"}'):
        open_frames(tmp_path)


def test_a_video_gives_its_frames_with_numbers_and_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'drive.avi', 4)
    frames = list(open_frames(path))
    assert [frame.name for frame in frames] == [f'drive_{number:06}' for number in range(4)]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert np.abs(frames[3].decode().astype(int) - draw_scene(3, 96, 64)[0]).mean() < 12  # JPEG


def test_a_video_that_ends_early_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'drive.avi', 20)
    cut(path, path.stat().st_size // 2)
    frames = []
    with pytest.raises(IncompleteInputError) as caught:
        for frame in open_frames(path):
            frames.append(frame)
    assert 0 < len(frames) < 20
    assert f'{path} ends early: {len(frames)} of 20 frames' in str(caught.value)


@pytest.mark.parametrize(('name', 'content', 'reason'), [
    ('none.png', None, 'no such input: .*none.png'),
    ('x.avi', b'no video', 'x.avi is not an image'),
    ('x.txt', b'text', 'x.txt is not an image'),
    ('x.mcap', b'no bag', 'cannot read bag .*x.mcap'),
    ('x.mcap', b'', 'cannot read bag .*x.mcap'),
    ('x.db3', b'', 'cannot read bag .*x.db3'),
    ('x.bag', b'no bag', 'cannot read bag .*x.bag'),
])
def test_an_input_that_cannot_be_read_is_named_in_one_line(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EnetError, match=reason) as caught:
        list(open_frames(tmp_path / name))
    assert '\n' not in str(caught.value)


def test_an_empty_folder_and_a_topic_without_a_bag_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match='no images'):
        open_frames(tmp_path)
    with pytest.raises(EnetError, match='not a bag and has no topics: remove topic /image'):
        open_frames(tmp_path, '/image')
