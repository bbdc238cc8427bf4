"""Frames of real bags and their ground truth."""

from __future__ import annotations

import json
import re
import shutil
import weakref
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from recordings import image_message, recorded_at, write_bag, write_mcap
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import IMAGE, LABEL_INFO, frame, image, label_info, scene, write_entries, write_topics

from enet_ros.errors import EnetError, ImageError
from enet_ros.images.bags import Bag, RecordedMessage
from enet_ros.labels import CAMVID
from enet_ros.replay.class_map import ClassMap
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.matching import MOST_WAITING
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
    assert recording.losses == (f'{path} is an incomplete recording: 20 messages were read from /image',)


def test_damaged_ground_truth_is_counted(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(3))))
    entries[3] = (*entries[3][:3], entries[3][3][:30])
    recording = opened(write_entries(tmp_path / 'drive', entries))
    assert [entry.truth is None for entry in recording] == [False, True, False]
    (line,) = recording.losses
    assert line.startswith('damaged messages on /labels: 1, the first: the message is damaged: ')


def test_damaged_ground_truth_of_a_time_that_is_not_selected_is_no_loss(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(20))))
    for damaged in (1, 39):  # at 0 s and 3.8 s
        entries[damaged] = (*entries[damaged][:3], entries[damaged][3][:30])
    path = write_entries(tmp_path / 'drive', entries)
    recording = opened(path, Selection('/image', '/labels', start=1.4, duration=1.0))
    assert numbers(list(recording)) == [7, 8, 9, 10, 11] and recording.losses == ()


@pytest.mark.parametrize('images', [0, 3], ids=['no images', 'images'])
def test_an_mcap_without_an_index_is_read(images: int, tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    write_topics(path, chain(*(frame(number) for number in range(images))), indexed=False)
    if images:
        assert numbers(list(opened(path))) == [0, 1, 2]
    else:
        with pytest.raises(EnetError, match='has no image topic'):
            opened(path)


def test_ground_truth_with_an_unknown_id_is_an_error_of_its_frame(tmp_path: Path) -> None:
    _, labels = scene(0)
    bad = np.where(labels == 3, 42, labels).astype(np.uint8)
    path = write_entries(tmp_path / 'drive', [
        ('/image', IMAGE, recorded_at(0), image(scene(0)[0], 'bgr8', 1.0)),
        ('/labels', IMAGE, recorded_at(0), image(bad, 'mono8', 1.0)),
    ])
    (entry,) = frames(path)
    with pytest.raises(ImageError, match=r'^drive_1_000000000: ground truth has id 42, which is not a class'):
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
    with pytest.raises(EnetError, match=r'only in the ground truth: Street; only in the model: Road: map the names'):
        opened(other, selection)
    mapped = opened(other, selection, ClassMap(renamed={'Street': 'Road', 'Sky': None}))
    assert (next(iter(mapped)).truth() == np.where(labels == 0, 255, labels)).all()
    with pytest.raises(EnetError, match='"Strasse" is not a class of the ground truth'):
        opened(other, selection, ClassMap(renamed={'Strasse': 'Road'}))


@pytest.mark.parametrize(('selection', 'message'), [
    (Selection('/up'), r'no image topic /up: choose from /empty .*, 0 m\w+\), /image \(sensor_msgs/msg/Image, 1 messages'),
    (Selection('/info'), 'has no image topic /info, but of type vision_msgs/msg/LabelInfo: choose from'),
    (Selection('/mixed'), '/mixed, but of type sensor_msgs/msg/Image and vision_msgs/msg/LabelInfo: choose from'),
    (Selection(), 'has 2 topics with camera images: choose one with --image-topic from .*/image'),
    (Selection('/labels'), '/labels of bag .* holds labels, not camera images: choose another --image-topic from'),
    (Selection('/labels', '/labels'), '/labels is both --image-topic and --labels-topic'),
    (Selection('/image', '/truth'), 'has no topic /truth: choose a --labels-topic of type sensor_msgs/msg/Image from'),
    (Selection('/image', '/info'), '/info .* is of type vision_msgs/msg/LabelInfo: choose a --labels-topic of type'),
    (Selection('/image', '/png'), '/png .* is of type sensor_msgs/msg/CompressedImage: choose a --labels-topic of type'),
    (Selection('/empty'), 'has no images on /empty: choose from'),
    (Selection('/image', start=1.0), 'has 0.000 s of images on /image: --start 1 is after its end'),
], ids=['missing', 'other type', 'several types', 'two cameras', 'labels', 'both', 'no labels', 'type of labels',
        'compressed labels', 'empty', 'start'])
def test_a_topic_that_does_not_fit_is_named(selection: Selection, message: str, tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', [
        *frame(0), ('/info', LABEL_INFO, recorded_at(0), label_info({0: 'Sky'})),
        ('/mixed', IMAGE, recorded_at(0), image_message(0)),
        ('/mixed', LABEL_INFO, recorded_at(1), label_info({0: 'Sky'})),
        ('/png', 'sensor_msgs/msg/CompressedImage', recorded_at(0), image_message(0, 'CompressedImage')),
    ], empty=[('/empty', IMAGE)])
    with pytest.raises(EnetError, match=message) as raised:
        opened(path, selection)
    assert '\n' not in str(raised.value)


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


def test_a_folder_without_metadata_names_the_file_to_pass(drive: Path, tmp_path: Path) -> None:
    (file,) = drive.glob('*.mcap')
    copy = tmp_path / file.name
    shutil.copy(file, copy)
    with pytest.raises(EnetError, match=f'no metadata.yaml: pass {copy} directly, or run: ros2 bag reindex {tmp_path}'):
        opened(tmp_path)
    assert len(list(opened(copy))) == 10


def test_a_split_bag_is_read_as_one(drive: Path, tmp_path: Path) -> None:
    path = tmp_path / 'split'
    entries = list(chain(*(frame(number) for number in range(10))))
    parts = [write_entries(tmp_path / f'part{index}', entries[8 * index:8 * index + 8]) for index in range(3)]
    path.mkdir()
    files = [shutil.copy(next(part.glob('*.mcap')), path / f'split_{index}.mcap') for index, part in enumerate(parts)]
    metadata = yaml.safe_load((drive / 'metadata.yaml').read_text())
    metadata['rosbag2_bagfile_information'].update(relative_file_paths=[file.name for file in files], files=[])
    (path / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    recording = opened(path)
    assert numbers(list(recording)) == list(range(10)) and recording.losses == ()
    assert recording.info.images == 10 and recording.info.seconds == pytest.approx(1.8)


def test_messages_that_the_index_of_a_bag_promises_and_its_files_lack_are_a_loss(drive: Path, tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number) for number in range(6))))
    shutil.copy(drive / 'metadata.yaml', path)
    recording = opened(path)
    assert len(list(recording)) == 6
    assert recording.losses == (
        f'bag {path} is damaged: 12 of 20 messages were read from /image and /labels (the rest is missing)',)


def test_an_mcap_that_was_cut_in_the_middle_says_how_much_was_lost(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(10))))
    path.write_bytes(whole[:len(whole) // 2])
    recording = opened(path)
    found = list(recording)
    assert 2 <= len(found) == recording.info.images < 10 and all(entry.truth for entry in found[:-1])
    (line,) = recording.losses
    pattern = r'(\d+) messages were read from /image and /labels; the last (\d+) of its (\d+) bytes cannot be read'
    read, lost, size = map(int, re.search(pattern, line).groups())
    assert abs(read - 2 * len(found)) <= 1 and 0 < lost < size == len(whole) // 2
    assert recording.info.seconds == pytest.approx(0.2 * (len(found) - 1))


@pytest.mark.parametrize('selection', [{'max_frames': 2}, {'duration': 0.3}], ids=['max_frames', 'duration'])
def test_what_is_lost_after_the_selected_frames_is_not_reported(selection: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(20))))
    path.write_bytes(whole[:len(whole) * 3 // 4])
    recording = opened(path, Selection('/image', '/labels', **selection))
    assert numbers(list(recording)) == [0, 1] and recording.losses == ()


def test_images_of_a_recording_that_was_cut_off_count_if_they_are_not_in_order(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    entries = [(topic, kind, recorded_at(time), data) for time, number in ((1, 0), (0, 1), (2, 2))
               for topic, kind, _, data in frame(number)]
    path.write_bytes(write_topics(path, entries)[:-20])
    assert numbers(list(opened(path))) == [0, 1, 2]


def test_the_duration_is_that_of_the_images(tmp_path: Path) -> None:
    others = [('/text', LABEL_INFO, recorded_at(number), label_info({})) for number in (-40, 60)]
    path = write_entries(tmp_path / 'drive', [*others, *chain(*(frame(number) for number in range(4)))])
    recording = opened(path)
    assert recording.info.seconds == pytest.approx(0.6)
    assert [entry.frame.seconds for entry in recording] == pytest.approx([0.0, 0.2, 0.4, 0.6])


def test_one_topic_with_two_connections_is_read_completely(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    write_topics(path, chain(*(frame(number) for number in range(4))), connections=2)
    assert numbers(list(opened(path))) == [0, 1, 2, 3]


def test_ground_truth_goes_to_the_nearest_image(tmp_path: Path) -> None:
    stamps = [1.0, 1.015, 1.03]
    entries = [(topic, kind, 100 + number, data) for number, stamp in enumerate(stamps)
               for topic, kind, _, data in frame(number, stamp=stamp) if topic == '/image']
    path = write_entries(tmp_path / 'drive', [*entries, ('/labels', IMAGE, 110, image(scene(1)[1], 'mono8', 1.012))])
    assert [entry.truth is not None for entry in frames(path)] == [False, True, False]
    # also if that one is not selected
    assert [entry.truth is not None for entry in frames(path, every=2)] == [False, False]


def test_ground_truth_is_looked_for_within_a_second_of_recording(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number, delay=delay) for number, delay in enumerate([-1.1, -0.9, 0.0, 0.9, 1.1] * 2))))
    found = frames(write_entries(tmp_path / 'drive', entries))
    assert numbers(found) == list(range(10))
    assert [entry.truth is not None for entry in found] == [False, True, True, True, False] * 2
    assert all((entry.truth() == scene(number)[1]).all() for number, entry in enumerate(found) if entry.truth)


@pytest.mark.parametrize('offset', [0.0, 0.01, 5.0], ids=['same stamps', 'near stamps', 'no match'])
def test_messages_are_kept_for_a_second_of_recording(
    offset: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [1 + number / 5 for number in range(60)]
    path = write_entries(tmp_path / 'drive', chain(*(
        frame(number, stamp=stamp, truth_stamp=stamp + offset) for number, stamp in enumerate(stamps))))
    have_truth, most = kept_messages(path, monkeypatch)
    # 5 Hz: labels of the last second, images and labels of the next one
    assert len(have_truth) == 60 and most <= 3 * 5 + 5


def kept_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[bool], int]:
    """Return for every frame whether it has ground truth, and how many messages were in memory at most."""
    kept: list[weakref.ref[object]] = []
    read = Bag.messages

    def messages(bag: Bag, topics: Collection[str]) -> Iterator[RecordedMessage]:
        for recorded in read(bag, topics):
            kept.append(weakref.ref(recorded.message))
            yield recorded

    monkeypatch.setattr(Bag, 'messages', messages)
    have_truth, most = [], 0
    for entry in opened(path):
        have_truth.append(entry.truth is not None)
        del entry
        most = max(most, sum(reference() is not None for reference in kept))
    return have_truth, most


@pytest.mark.parametrize(('offset', 'has_truth'), [(0.0, True), (0.01, True), (0.1, False)],
                         ids=['same stamps', 'near stamps', 'no match'])
@pytest.mark.parametrize('step', [0, -10**8], ids=['stand still', 'go back'])
def test_memory_is_bounded_if_the_times_of_recording_do_not_go_on(
    step: int, offset: float, has_truth: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, path = 3 * MOST_WAITING, tmp_path / 'drive.mcap'
    data = write_topics(path, [
        (topic, kind, recorded_at(count) + step * number, message) for number in range(count)
        for topic, kind, _, message in frame(number, stamp=1 + number / 5, truth_stamp=1 + number / 5 + offset)])
    path.write_bytes(data[:-20])  # cut off: the times are those of the file
    have_truth, most = kept_messages(path, monkeypatch)
    assert have_truth == [has_truth] * count
    assert most <= 3 * MOST_WAITING + 5


def test_class_names_in_the_metadata_of_an_mcap_are_used(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    names = ['Road', *(name for name in CAMVID.names if name != 'Road')]
    labels = scene(0)[1]
    entries = [('/image', IMAGE, 1, image(scene(0)[0], 'bgr8', 1.0)), ('/labels', IMAGE, 1, image(labels, 'mono8', 1.0))]
    data = write_topics(path, entries, {'class_names': json.dumps(names), 'labels_topic': '/labels'})
    for content in (data, data[:-20]):  # finished, cut off
        path.write_bytes(content)
        (entry,) = opened(path)
        assert (entry.truth() == np.array([CAMVID.names.index(name) for name in names], np.uint8)[labels]).all()
    other = {'class_names': '[]', 'labels_topic': '/other'}
    write_topics(path, entries, other, {'class_names': json.dumps(names), 'labels_topic': '/labels'})
    assert (next(iter(opened(path))).truth()[labels == 0] == CAMVID.names.index('Road')).all()
    write_topics(path, entries, {'class_names': '{', 'labels_topic': '/labels'})
    with pytest.raises(EnetError, match=r'the class names in the metadata of bag .* are not a JSON list of names'):
        opened(path)


def test_damaged_class_names_are_an_error(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', [*frame(0), ('/labels/label_info', LABEL_INFO, recorded_at(0), b'\0\1\0\0')])
    with pytest.raises(EnetError, match=r'the class names on /labels/label_info of bag .* are damaged: name the classes'):
        opened(path)


@pytest.mark.parametrize('encoding', ['mono8', 'mono16', '32SC1'])
def test_labels_are_not_replayed_as_camera_images(encoding: str, tmp_path: Path) -> None:
    dtype = {'mono8': np.uint8, 'mono16': np.uint16, '32SC1': np.int32}[encoding]
    labels = np.where(scene(0)[1] == 0, 255, scene(0)[1]).astype(dtype)
    path = write_entries(tmp_path / 'drive', [('/image', IMAGE, recorded_at(0), image(labels, encoding, 1.0))])
    with pytest.raises(EnetError, match=r'/image of bag .* holds labels, not camera images'):
        opened(path, Selection('/image'))
    with pytest.raises(EnetError, match=r'has no camera images: its image topics are /image \(.*, 1 messages\)'):
        opened(path, Selection())


@pytest.mark.parametrize('value', [0, 255])
@pytest.mark.parametrize('finished', [True, False], ids=['finished', 'cut off'])
def test_labels_that_start_with_one_value_are_not_replayed(value: int, finished: bool, tmp_path: Path) -> None:
    blank = image(np.full((32, 48), value, np.uint8), 'mono8', 1.0)
    path = tmp_path / 'drive.mcap'
    data = write_topics(path, [('/labels', IMAGE, 1, blank), *chain(*(frame(number) for number in range(2)))])
    path.write_bytes(data if finished else data[:-20])
    with pytest.raises(EnetError, match=r'/labels of bag .* holds labels, not camera images'):
        opened(path, Selection('/labels'))
    assert opened(path, Selection()).info.image_topic == '/image'


def test_a_mono_camera_that_starts_with_dark_images_is_not_taken_for_labels(tmp_path: Path) -> None:
    dark = np.zeros((2, 32, 48), np.uint8)
    dark[1, 8:16] = 5
    pictures = [*dark, *(scene(number)[0][..., 0] for number in range(3))]
    path = write_entries(tmp_path / 'drive', [
        ('/image', IMAGE, recorded_at(number), image(np.ascontiguousarray(picture), 'mono8', 1.0 + number))
        for number, picture in enumerate(pictures)])
    assert len(list(opened(path, Selection()))) == 5


def test_a_camera_beside_named_labels_is_not_taken_for_labels(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', [
        ('/front/image', IMAGE, recorded_at(0), image(scene(0)[0], 'bgr8', 1.0)),
        ('/front/truth', IMAGE, recorded_at(0), image(scene(0)[1] + np.uint8(200), 'mono8', 1.0)),  # not ids of the model
        ('/front/label_info', LABEL_INFO, recorded_at(0), label_info({200: 'Sky'}))])
    assert opened(path, Selection()).info.image_topic == '/front/image'
    with pytest.raises(EnetError, match=r'/front/truth of bag .* holds labels'):
        opened(path, Selection('/front/truth'))


def test_a_damaged_bag_is_one_line_and_what_is_readable(tmp_path: Path) -> None:
    whole = write_topics(tmp_path / 'drive.mcap', chain(*(frame(number) for number in range(10))))
    path = tmp_path / 'damaged.mcap'
    outcomes = set()
    for start in range(0, len(whole), len(whole) // 25):
        path.write_bytes(whole[:start] + b'\xff' * 50 + whole[start + 50:])
        try:
            recording = opened(path)
            count, lines = len(list(recording)), recording.losses
            assert count == 10 or lines
            outcomes.add('lost' if lines else 'read')
        except EnetError as error:
            lines = (str(error),)
            outcomes.add('refused')
        assert not any('\n' in line for line in lines)
    assert outcomes >= {'lost', 'refused'}


def test_the_progress_total_is_that_of_the_selected_part(drive: Path) -> None:
    assert opened(drive).count == 10
    assert opened(drive, Selection('/image', '/labels', start=0.9, every=2)).count in (2, 3)
    assert opened(drive, Selection('/image', '/labels', max_frames=3)).count == 3


def test_a_damaged_image_is_one_frame_that_cannot_be_decoded(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(3))))
    entries[2] = (*entries[2][:3], entries[2][3][:60])
    found = list(opened(write_entries(tmp_path / 'drive', entries)))
    assert len(found) == 3
    with pytest.raises(ImageError):
        found[1].frame.decode()
