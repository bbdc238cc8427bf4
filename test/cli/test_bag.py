"""`enet bag`; test/replay/test_dataset_bag.py reads the messages."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import enet, refused
from resource_limits import file_size_limit

from enet_ros.datasets.prepared import Dataset
from enet_ros.images.bags import open_bag
from enet_ros.images.files import write_image

Make = Callable[..., Dataset]
ENGINE = ('--backend', 'openvino', '--size', '96x64', '--threads', 1)


@pytest.mark.parametrize('jpeg', [False, True], ids=['raw', 'jpeg'])
def test_the_bag_of_a_split_can_be_replayed_as_printed(
    jpeg: bool, shipped_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset, bag = drawn_dataset(val=4), tmp_path / 'a bag.mcap'
    done = enet('bag', dataset.root, bag, *(['--jpeg'] if jpeg else []))
    assert f'4 images of {dataset.root / "val"} written to {bag}' in done.stdout
    assert '4/4' in done.stderr
    assert f"enet replay '{bag}' --labels-topic /ground_truth/labels --report DIR" in done.stdout
    enet('evaluate', '--model', shipped_model, '--data', dataset.root, *ENGINE, '--json', tmp_path / 'e.json')
    enet('replay', bag, '--labels-topic', '/ground_truth/labels', '--report', tmp_path / 'r', '--model', shipped_model,
         *ENGINE)
    evaluated = json.loads((tmp_path / 'e.json').read_text())
    replayed = json.loads((tmp_path / 'r' / 'report.json').read_text())
    assert replayed['configuration']['trained_on'] == []
    assert replayed['frames_in'] == replayed['bags'][0]['coverage']['with_truth'] == 4
    if jpeg:
        assert replayed['mean_iou'] == pytest.approx(evaluated['mean_iou'], abs=0.1)
    else:
        assert replayed['mean_iou'] == evaluated['mean_iou']
        assert replayed['metrics']['confusion'] == evaluated['confusion']


def test_topics_frame_id_and_split_are_chosen(drawn_dataset: Make, tmp_path: Path) -> None:
    bag = tmp_path / 'train.mcap'
    enet('bag', drawn_dataset(train=3).root, bag, '--split', 'train', '--image-topic', '/front/image',
         '--labels-topic', '/truth', '--frame-id', 'front', '--jpeg', 80)
    found = open_bag(bag)
    assert {name: topic.count for name, topic in found.topics.items()} == {
        '/front/image/compressed': 3, '/front/camera_info': 3, '/truth': 3, '/truth/label_info': 1}
    assert {entry.message.header.frame_id for entry in found.messages(['/truth'])} == {'front'}


def test_images_without_labels_are_written_and_reported(tmp_path: Path) -> None:
    write_image(tmp_path / 'own' / 'images' / 'a.png', np.zeros((8, 10, 3), np.uint8))
    done = enet('bag', tmp_path / 'own', tmp_path / 'own.mcap')
    assert f'has no ground truth: {tmp_path / "own" / "labels"} does not exist' in done.stderr
    assert '--labels-topic' not in done.stdout


def test_an_existing_file_is_replaced_only_if_asked_for(drawn_dataset: Make, tmp_path: Path) -> None:
    root, bag = drawn_dataset().root, tmp_path / 'val.mcap'
    bag.write_text('notes')
    assert refused('bag', root, bag) == f'enet: {bag} exists: choose another name or pass --overwrite'
    assert bag.read_text() == 'notes'
    enet('bag', root, bag, '--overwrite')
    assert open_bag(bag).topics['/camera/image_raw'].count == 2


@pytest.mark.parametrize('options', [
    ('--rate', '0'), ('--rate', 'inf'), ('--rate', 'nan'), ('--rate', '1e12'), ('--rate', '1e-12'), ('--jpeg', '0'),
    ('--jpeg', '101'), ('--image-topic', 'image'), ('--labels-topic', '/a b'), ('--image-topic', '/ground_truth/labels'),
    ('--labels-topic', '/camera/camera_info'), ('--frame-id', '\udcff'),
], ids=ascii)
def test_wrong_options_are_refused(options: tuple[str, str], drawn_dataset: Make, tmp_path: Path) -> None:
    line = refused('bag', drawn_dataset().root, tmp_path / 'out.mcap', *options, code=2)
    assert options[0] in line or 'two kinds of messages' in line
    assert not (tmp_path / 'out.mcap').exists()


def test_inputs_and_outputs_that_do_not_fit_are_refused(drawn_dataset: Make, tmp_path: Path) -> None:
    root, out = drawn_dataset().root, tmp_path / 'out.mcap'
    assert 'no dataset.yaml in' in refused('bag', tmp_path / 'missing', out)
    assert 'choose a split of train, val' in refused('bag', root, out, '--split', 'test')
    assert 'remove --split val' in refused('bag', root / 'train', out, '--split', 'val', code=2)
    assert 'ends in .mcap' in refused('bag', root, tmp_path / 'out.bag', code=2)
    (tmp_path / 'folder.mcap').mkdir()
    assert 'it is a folder' in refused('bag', root, tmp_path / 'folder.mcap')
    (tmp_path / 'file').touch()
    assert f'cannot write {tmp_path / "file" / "out.mcap"}: ' in refused('bag', root, tmp_path / 'file' / 'out.mcap')


def test_a_full_disk_is_reported_and_keeps_the_file_that_is_there(drawn_dataset: Make, tmp_path: Path) -> None:
    root, bag = drawn_dataset(val=4, width=480, height=352).root, tmp_path / 'out' / 'val.mcap'
    bag.parent.mkdir()
    bag.write_text('before')
    with file_size_limit(20_000):
        done = enet('bag', root, bag, '--overwrite', code=1)
    assert done.stderr.splitlines()[-1] == f'enet: cannot write {bag}: {os.strerror(errno.EFBIG)}'
    assert [path.name for path in bag.parent.iterdir()] == ['val.mcap'] and bag.read_text() == 'before'
