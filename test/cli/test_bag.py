"""`enet bag`: what is written is read back by two independent libraries, and evaluated like the dataset."""

from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import enet, enet_process, refused
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from enet_ros.datasets.prepared import Dataset
from enet_ros.images.files import read_image, read_labels, write_image
from enet_ros.labels import CAMVID

Make = Callable[..., Dataset]
IMAGES, TRUTH = '/camera/image_raw', '/ground_truth/labels'


def messages(path: Path) -> dict[str, list[object]]:
    """Read a bag with rosbags, which knows the types only by the definitions in the file."""
    found: dict[str, list[object]] = {}
    with AnyReader([path]) as bag:
        for connection, _, data in bag.messages():
            found.setdefault(connection.topic, []).append(bag.deserialize(data, connection.msgtype))
    return found


def test_images_ground_truth_and_class_names_are_read_back(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=3)
    done = enet('bag', dataset.root, tmp_path / 'val.mcap', '--rate', 4, '--frame-id', 'front')
    assert f'3 images of {dataset.root} (val) written to {tmp_path / "val.mcap"}' in done.stdout
    found = messages(tmp_path / 'val.mcap')
    for number, sample in enumerate(dataset.samples('val')):
        image, truth, info = (found[topic][number] for topic in (IMAGES, TRUTH, '/camera/camera_info'))
        for message in (image, truth, info):
            assert message.header.frame_id == 'front'
            assert (message.header.stamp.sec, message.header.stamp.nanosec) == (10**9, number * 250_000_000)
        pixels = read_image(sample.image_path)
        assert (image.encoding, truth.encoding) == ('bgr8', 'mono8')
        assert (image.data.reshape(image.height, image.width, 3) == pixels).all()
        assert (truth.data.reshape(truth.height, truth.width) == read_labels(sample.labels_path)).all()
        assert (info.width, info.height) == (pixels.shape[1], pixels.shape[0]) and not info.k.any()
    (names,) = found[f'{TRUTH}/label_info']
    assert [(entry.class_id, entry.class_name) for entry in names.class_map] == list(enumerate(CAMVID.names))


def test_the_mcap_library_reads_what_ros2_needs(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=2)
    enet('bag', dataset.root, tmp_path / 'val.mcap')
    with (tmp_path / 'val.mcap').open('rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
        assert summary is not None and summary.statistics.message_count == 7
        for channel in summary.channels.values():
            assert channel.message_encoding == 'cdr' and 'reliability: reliable' in channel.metadata['offered_qos_profiles']
            assert summary.schemas[channel.schema_id].encoding == 'ros2msg'
        counts = Counter(channel.topic for _, channel, _ in reader.iter_messages())
    assert counts == {IMAGES: 2, TRUTH: 2, '/camera/camera_info': 2, f'{TRUTH}/label_info': 1}


def test_jpeg_images_go_to_the_compressed_topic(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=1)
    enet('bag', dataset.root, tmp_path / 'val.mcap', '--jpeg', 90)
    (message,) = messages(tmp_path / 'val.mcap')[f'{IMAGES}/compressed']
    image = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
    difference = np.abs(image.astype(int) - read_image(dataset.samples('val')[0].image_path))
    assert message.format == 'bgr8; jpeg compressed bgr8' and 0 < difference.mean() < 12


def test_a_replay_of_the_bag_has_the_figures_of_the_dataset(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset(val=4)
    enet('bag', dataset.root, tmp_path / 'val.mcap')
    enet('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'openvino', '--json', tmp_path / 'e.json')
    enet('replay', tmp_path / 'val.mcap', '--model', small_model, '--labels-topic', TRUTH, '--backend', 'openvino',
         '--report', tmp_path / 'out', '--save-bag', tmp_path / 'saved.mcap', '--video', tmp_path / 'saved.mp4')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    pooled, expected = report['metrics']['pooled'], json.loads((tmp_path / 'e.json').read_text())
    for figure in ('mean_iou', 'class_average', 'global_accuracy'):
        assert pooled[figure] == pytest.approx(expected[figure], abs=1e-3)  # confidence needs another graph
    found = messages(tmp_path / 'saved.mcap')
    assert {topic: len(entries) for topic, entries in found.items()} == {
        '/image': 4, '/enet/labels': 4, '/enet/overlay': 4, '/ground_truth/labels': 4, '/enet/label_info': 1}
    share = np.mean([
        (labels.data == truth.data)[truth.data != 255].mean()
        for labels, truth in zip(found['/enet/labels'], found['/ground_truth/labels'])])
    assert share == pytest.approx(report['metrics']['mean_over_frames']['accuracy'], abs=1e-3)
    assert found['/enet/labels'][3].header.stamp.nanosec == 300_000_000
    video = cv2.VideoCapture(str(tmp_path / 'saved.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)


@pytest.mark.parametrize(('arguments', 'reason', 'code'), [
    (['--rate', '0'], 'is not a number above 0', 2),
    (['--rate', 'nan'], 'is not a number above 0', 2),
    (['--jpeg', '101'], 'is not an integer from 1 to 100', 2),
    (['--image-topic', 'camera'], '"camera" is not the full name of a topic', 2),
    (['--image-topic', TRUTH], 'is given for images and labels', 2),
    (['--split', 'test'], 'choose a split of train, val', 1),
], ids=['no rate', 'rate', 'quality', 'topic', 'one topic', 'split'])
def test_bad_arguments_are_one_line(
    arguments: list[str], reason: str, code: int, drawn_dataset: Make, tmp_path: Path
) -> None:
    assert reason in refused('bag', drawn_dataset(val=1).root, tmp_path / 'out.mcap', *arguments, code=code)
    assert not (tmp_path / 'out.mcap').exists()


def test_an_existing_file_is_only_replaced_on_request(drawn_dataset: Make, tmp_path: Path) -> None:
    path = tmp_path / 'out.mcap'
    path.write_text('mine')
    root = drawn_dataset(val=1).root
    assert 'exists: choose another name or pass --overwrite' in refused('bag', root, path, code=2)
    assert path.read_text() == 'mine'
    enet('bag', root, path, '--overwrite')
    assert messages(path)


def test_a_folder_without_a_dataset_and_another_suffix_are_refused(tmp_path: Path) -> None:
    assert 'no dataset.yaml' in refused('bag', tmp_path, tmp_path / 'out.mcap')
    assert 'is not an mcap file' in refused('bag', tmp_path, tmp_path / 'out.bag', code=2)


def test_a_wrong_id_leaves_no_file(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=2)
    sample = dataset.samples('val')[1]
    labels = read_labels(sample.labels_path)
    labels[0, 0] = 77
    write_image(sample.labels_path, labels)
    done = enet('bag', dataset.root, tmp_path / 'out.mcap', code=1)
    assert f'{sample.labels_path} holds label id 77' in done.stderr
    assert not list(tmp_path.glob('*.mcap'))


def test_a_full_disk_is_one_line_and_leaves_no_file(drawn_dataset: Make, tmp_path: Path) -> None:
    root = drawn_dataset(val=3).root
    # a limit on the size of files stands in for a disk that is full
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        done = enet_process('bag', root, tmp_path / 'out.mcap', code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.stderr.strip().splitlines()[-1].startswith(f'enet: cannot write {tmp_path / "out.mcap"}: File too large')
    assert not list(tmp_path.glob('*.mcap'))
