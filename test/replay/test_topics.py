"""Topics of a bag that can be replayed, and the class names of its labels."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from recorded_frames import opened
from recordings import image_message, recorded_at
from truth_bags import (
    COMPRESSED,
    IMAGE,
    LABEL_INFO,
    compressed_image,
    frame,
    image,
    label_info,
    scene,
    write_entries,
    write_topics,
)

from enet_ros.errors import EnetError
from enet_ros.labels import CAMVID
from enet_ros.replay.class_map import ClassMap
from enet_ros.replay.recording import Selection


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
    (Selection('/image', '/truth'), 'has no topic /truth: choose a --labels-topic of type sensor_msgs/msg/Image or '),
    (Selection('/image', '/info'), '/info .* is of type vision_msgs/msg/LabelInfo: choose a --labels-topic of type'),
    (Selection('/image', '/jpeg'), '/jpeg .* has JPEG images, which cannot be ground truth: JPEG changes class'),
    (Selection('/empty'), 'has no images on /empty: choose from'),
    (Selection('/image', start=1.0), 'has 0.000 s of images on /image: --start 1 is after its end'),
], ids=['missing', 'other type', 'several types', 'two cameras', 'labels', 'both', 'no labels', 'type of labels',
        'lossy labels', 'empty', 'start'])
def test_a_topic_that_does_not_fit_is_named(selection: Selection, message: str, tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', [
        *frame(0), ('/info', LABEL_INFO, recorded_at(0), label_info({0: 'Sky'})),
        ('/mixed', IMAGE, recorded_at(0), image_message(0)),
        ('/mixed', LABEL_INFO, recorded_at(1), label_info({0: 'Sky'})),
        ('/jpeg', COMPRESSED, recorded_at(0), compressed_image(scene(0)[1], '.jpg', 1.0)),
    ], empty=[('/empty', IMAGE)])
    with pytest.raises(EnetError, match=message) as raised:
        opened(path, selection)
    assert '\n' not in str(raised.value)


def test_a_dark_mono_camera_is_not_taken_for_labels(tmp_path: Path) -> None:
    dark = np.random.default_rng(1).integers(0, 4, (32, 48), np.uint8)
    path = write_entries(tmp_path / 'drive', [('/image', IMAGE, recorded_at(0), image(dark, 'mono8', 1.0))])
    assert len(list(opened(path, Selection()))) == 1


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
    for text in ('{', '[' * 100_000):
        write_topics(path, entries, {'class_names': text, 'labels_topic': '/labels'})
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


@pytest.mark.parametrize('finished', [True, False], ids=['finished', 'cut off'])
def test_labels_in_png_are_ground_truth_and_not_replayed(finished: bool, tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    data = write_topics(path, [entry for number in range(3) for entry in (
        ('/image/compressed', COMPRESSED, recorded_at(number), compressed_image(scene(number)[0], '.png', 1.0 + number)),
        ('/labels/compressed', COMPRESSED, recorded_at(number), compressed_image(scene(number)[1], '.png', 1.0 + number)))])
    path.write_bytes(data if finished else data[:-20])
    recording = opened(path, Selection(labels_topic='/labels/compressed'))
    assert recording.info.image_topic == '/image/compressed'
    for number, entry in enumerate(recording):
        assert (entry.truth() == scene(number)[1]).all()
    assert opened(path, Selection()).info.image_topic == '/image/compressed'
    with pytest.raises(EnetError, match=r'/labels/compressed of bag .* holds labels, not camera images'):
        opened(path, Selection('/labels/compressed'))
