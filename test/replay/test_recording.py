"""Frames of real bags and their ground truth."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from recordings import image_message, recorded_at, write_bag, write_mcap
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import IMAGE, LABEL_INFO, frame, image, label_info, scene, write_entries

from enet_ros.errors import EnetError, ImageError
from enet_ros.labels import CAMVID
from enet_ros.replay.class_map import ClassMap
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.recording import Recording, Selection, open_recording

WITH_TRUTH = Selection('/image', '/labels')


def opened(path: Path, selection: Selection = WITH_TRUTH, class_map: ClassMap | None = None) -> Recording:
    return open_recording(path, selection, class_map, CAMVID)


def frames(path: Path, **selection: object) -> list[ReplayFrame]:
    return list(opened(path, Selection('/image', '/labels', **selection)))


def numbers(found: list[ReplayFrame]) -> list[int]:
    """Return which drawn scene each frame shows."""
    return [int(entry.frame.stamp[0]) - 1 for entry in found]


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of ten images at 5 Hz with ground truth."""
    return write_entries(tmp_path_factory.mktemp('drive') / 'drive', chain(*(frame(number) for number in range(10))))


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda value: value.name)
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE],
                         ids=lambda value: value.name)
def test_every_frame_has_its_image_and_ground_truth(
    storage: StoragePlugin, compression: CompressionMode, tmp_path: Path
) -> None:
    if storage is StoragePlugin.MCAP and compression is CompressionMode.MESSAGE:
        compression = CompressionMode.STORAGE  # mcap compresses its chunks itself
    path = write_entries(tmp_path / 'drive', chain(*(frame(number) for number in range(4))), storage, compression)
    recording = opened(path)
    found = list(recording)
    assert numbers(found) == [0, 1, 2, 3] and recording.losses == ()
    for number, entry in enumerate(found):
        assert (entry.frame.decode() == scene(number)[0]).all()
        assert (entry.truth() == scene(number)[1]).all()
        assert entry.frame.seconds == pytest.approx(0.2 * number)
    info = recording.info
    assert (info.name, info.image_topic, info.labels_topic, info.images) == ('drive', '/image', '/labels', 4)
    assert info.seconds == pytest.approx(0.6)


@pytest.mark.parametrize(('selection', 'expected'), [
    ({'start': 0.5}, [3, 4, 5, 6, 7, 8, 9]),
    ({'start': 0.4, 'duration': 0.6}, [2, 3, 4]),
    ({'every': 4}, [0, 4, 8]),
    ({'start': 0.2, 'every': 3, 'max_frames': 2}, [1, 4]),
    ({'ignore': ((0.0, 0.4), (1.0, 1.4))}, [2, 3, 4, 7, 8, 9]),
    ({'max_frames': 20}, list(range(10))),
], ids=['start', 'start and duration', 'every', 'every and max_frames', 'ignore', 'more frames than there are'])
def test_frames_are_selected(drive: Path, selection: dict[str, object], expected: list[int]) -> None:
    found = frames(drive, **selection)
    assert numbers(found) == expected
    assert all(entry.truth is not None for entry in found)
    assert opened(drive, Selection('/image', '/labels', **selection)).count >= len(expected)


def test_ground_truth_is_matched_by_stamp_however_late_it_was_recorded(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, delay=0.7) for number in range(8))))
    for number, entry in enumerate(frames(path)):
        assert (entry.truth() == scene(number)[1]).all()


def test_ground_truth_beyond_the_tolerance_is_not_used(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(
        frame(number, stamp=10 + number, truth_stamp=10 + number + 0.01 * number) for number in range(6))))
    assert [entry.truth is not None for entry in frames(path, tolerance=0.025)] == [True] * 3 + [False] * 3


def test_stamps_out_of_order_and_repeated_ones_are_matched_one_to_one(tmp_path: Path) -> None:
    stamps = [5.0, 3.0, 4.0, 4.0, 4.0, 1.0]
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, stamp=stamp) for number, stamp in enumerate(stamps))))
    found = frames(path)
    assert len({entry.frame.name for entry in found}) == len(stamps)
    for number, entry in enumerate(found):
        assert (entry.truth() == scene(number)[1]).all()


def test_without_stamps_the_times_of_recording_are_matched(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, stamp=0.0) for number in range(3))))
    assert [(entry.truth() == scene(number)[1]).all() for number, entry in enumerate(frames(path))] == [True] * 3


def test_a_bag_without_ground_truth_gives_frames_without_it(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3)
    assert [entry.truth for entry in opened(path, Selection())] == [None] * 3


def test_compressed_images_are_read(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image/compressed': 'CompressedImage'}, 2)
    for number, entry in enumerate(opened(path, Selection())):
        assert (entry.frame.decode() == scene(number)[0]).all()


def test_an_mcap_that_was_cut_off_gives_what_is_readable_and_says_so(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20, finish=False)
    recording = opened(path, Selection())
    found = list(recording)
    assert len(found) == recording.info.images == 20
    assert recording.losses == (f'{path} is an incomplete recording: 20 messages were read',)


def test_damaged_ground_truth_is_counted(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(3))))
    entries[3] = (*entries[3][:3], entries[3][3][:30])
    recording = opened(write_entries(tmp_path / 'drive', entries))
    assert [entry.truth is None for entry in recording] == [False, True, False]
    assert recording.losses == ('1 messages of /labels are damaged',)


def test_ground_truth_with_an_unknown_id_is_an_error_of_its_frame(tmp_path: Path) -> None:
    _, labels = scene(0)
    bad = np.where(labels == 3, 42, labels).astype(np.uint8)
    path = write_entries(tmp_path / 'drive', [
        ('/image', IMAGE, recorded_at(0), image(scene(0)[0], 'bgr8', 1.0)),
        ('/labels', IMAGE, recorded_at(0), image(bad, 'mono8', 1.0)),
    ])
    (entry,) = frames(path)
    with pytest.raises(ImageError, match=r'^drive_1_000000000: the id 42 of the ground truth is not a class'):
        entry.truth()


def test_class_names_of_the_bag_decide_what_its_ids_mean(tmp_path: Path) -> None:
    _, labels = scene(0)
    names = {100 + number: name for number, name in enumerate(CAMVID.names)}
    entries = [
        ('/image', IMAGE, recorded_at(0), image(scene(0)[0], 'bgr8', 1.0)),
        ('/truth/labels', IMAGE, recorded_at(0), image(labels + np.uint8(100), 'mono8', 1.0)),
        ('/truth/label_info', LABEL_INFO, recorded_at(0), label_info(names)),
    ]
    path = write_entries(tmp_path / 'drive', entries)
    selection = Selection(labels_topic='/truth/labels')  # the only other image topic is the camera
    assert (next(iter(opened(path, selection))).truth() == labels).all()

    other = write_entries(tmp_path / 'other', [*entries[:2], (*entries[2][:3], label_info({**names, 103: 'Street'}))])
    with pytest.raises(EnetError, match=r'the model does not have: Street; map them with --class-map'):
        opened(other, selection)
    mapped = opened(other, selection, ClassMap(renamed={'Street': 'Road', 'Sky': None}))
    assert (next(iter(mapped)).truth() == np.where(labels == 0, 255, labels)).all()
    with pytest.raises(EnetError, match='"Strasse" is not a class of the ground truth'):
        opened(other, selection, ClassMap(renamed={'Strasse': 'Road'}))


@pytest.mark.parametrize(('selection', 'message'), [
    (Selection('/up'), 'has no topic /up; its image topics: /empty .*, /image \\(sensor_msgs/msg/Image, 1\\), /labels'),
    (Selection('/info'), 'has topic /info of type vision_msgs/msg/LabelInfo, which is not an image'),
    (Selection('/mixed'), 'has topic /mixed of type several types, which is not an image'),
    (Selection(), 'has 3 camera topics: choose one with --image-topic'),
    (Selection('/labels'), '/labels of bag .* holds labels, not camera images'),
    (Selection('/labels', '/labels'), '/labels is given as --image-topic and as --labels-topic'),
    (Selection('/image', '/truth'), 'labels topic /truth does not exist'),
    (Selection('/image', '/info'), 'labels topic /info is of type vision_msgs/msg/LabelInfo .* choose one of type'),
    (Selection('/empty'), 'has no message on /empty'),
], ids=lambda value: '-'.join(filter(None, (value.image_topic, value.labels_topic))) if isinstance(value, Selection) else '')
def test_a_topic_that_does_not_fit_is_named(selection: Selection, message: str, tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', [
        *frame(0), ('/info', LABEL_INFO, recorded_at(0), label_info({0: 'Sky'})),
        ('/mixed', IMAGE, recorded_at(0), image_message(0)),
        ('/mixed', LABEL_INFO, recorded_at(1), label_info({0: 'Sky'})),
    ], empty=[('/empty', IMAGE)])
    with pytest.raises(EnetError, match=message):
        opened(path, selection)


def test_a_dark_mono_camera_is_not_taken_for_labels(tmp_path: Path) -> None:
    dark = np.random.default_rng(1).integers(0, 4, (32, 48), np.uint8)
    path = write_entries(tmp_path / 'drive', [('/image', IMAGE, recorded_at(0), image(dark, 'mono8', 1.0))])
    assert len(list(opened(path, Selection()))) == 1


def test_what_is_not_a_bag_is_named(tmp_path: Path) -> None:
    (tmp_path / 'text.mcap').write_text('not a bag')
    for path, reason in ((tmp_path / 'none', 'no such bag'), (tmp_path / 'text.mcap', 'cannot read bag'),
                         (tmp_path, 'cannot read bag')):
        with pytest.raises(EnetError, match=reason):
            opened(path, Selection())
