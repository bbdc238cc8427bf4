"""What all converters share: resuming, links, bad files, full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT
from numpy.typing import NDArray

from enet_ros.datasets.prepared import read_dataset
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.images.files import read_labels, write_image
from enet_ros.labels import LabelSet

LABELS = LabelSet(('ground', 'box', 'person'), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def read_ids(pair: Pair) -> NDArray[np.uint8]:
    return read_labels(pair.labels_path)


@pytest.fixture
def source(tmp_path: Path) -> SourceDataset:
    """Return a source of six training and two validation images of noise."""
    generator = np.random.default_rng(0)
    splits: dict[str, list[Pair]] = {'train': [], 'val': []}
    for split, count in (('train', 6), ('val', 2)):
        for number in range(count):
            pair = Pair.of(tmp_path / 'src' / f'{split}{number}.png', tmp_path / 'src' / f'{split}{number}_l.png')
            write_image(pair.image_path, generator.integers(0, 255, (24, 32, 3), np.uint8))
            write_image(pair.labels_path, generator.integers(0, 3, (24, 32), np.uint8))
            splits[split].append(pair)
    return SourceDataset('noise', LABELS, splits, read_ids, 'drawn', 'free')


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


def interrupt_after(source: SourceDataset, root: Path, count: int) -> None:
    """Convert until `count` images are read, then fail as Ctrl-C does."""
    read = []

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        if len(read) >= count:
            raise KeyboardInterrupt
        read.append(pair)
        return read_ids(pair)

    with pytest.raises(KeyboardInterrupt):
        write_dataset(root, replace(source, to_ids=to_ids))


def resumed(source: SourceDataset, root: Path) -> list[str]:
    """Convert the rest and return the names of the images that were read for it."""
    read = []

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        read.append(pair.name)
        return read_ids(pair)

    write_dataset(root, replace(source, to_ids=to_ids))
    return read


def converted(root: Path) -> list[str]:
    """Return the names of the images that are converted so far."""
    return sorted(path.stem for path in root.glob('*/labels/*.png'))


def test_a_resumed_conversion_does_the_rest_and_gives_the_same_files(source: SourceDataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / 'whole', source)
    interrupt_after(source, tmp_path / 'parts', 3)
    with pytest.raises(DatasetError, match=r'no dataset.yaml'):
        read_dataset(tmp_path / 'parts')
    done = converted(tmp_path / 'parts')
    assert 3 <= len(done) < 8
    assert sorted([*done, *resumed(source, tmp_path / 'parts')]) == converted(tmp_path / 'whole')
    assert contents(tmp_path / 'parts') == contents(tmp_path / 'whole')


@pytest.mark.parametrize(('change', 'redone'), [
    (lambda source, name, root: os.utime(source / f'{name}.png', ns=(0, 0)), True),
    (lambda source, name, root: os.utime(source / f'{name}_l.png', ns=(0, 0)), True),
    (lambda source, name, root: next(root.glob(f'*/labels/{name}.png')).unlink(), True),
    (lambda source, name, root: None, False),
], ids=['image changed', 'labels changed', 'output deleted', 'nothing'])
def test_only_images_that_changed_are_converted_again(
    change: Callable[[Path, str, Path], object], redone: bool, source: SourceDataset, tmp_path: Path
) -> None:
    interrupt_after(source, tmp_path / 'out', 4)
    name = converted(tmp_path / 'out')[0]
    change(tmp_path / 'src', name, tmp_path / 'out')
    assert (name in resumed(source, tmp_path / 'out')) == redone


@pytest.mark.parametrize('other', [
    {'settings': 'void: [1]'}, {'labels': LabelSet(('a', 'b', 'c'), LABELS.colors)}, {'name': 'other'},
], ids=['settings', 'classes', 'name'])
def test_a_conversion_with_other_settings_starts_over(
    other: dict[str, object], source: SourceDataset, tmp_path: Path
) -> None:
    interrupt_after(source, tmp_path / 'out', 4)
    assert len(resumed(replace(source, **other), tmp_path / 'out')) == 8


def test_a_conversion_that_an_earlier_version_left_unfinished_starts_over(source: SourceDataset, tmp_path: Path) -> None:
    interrupt_after(source, tmp_path / 'out', 4)
    journal = tmp_path / 'out' / '.unfinished.jsonl'
    (_, *identity), *entries = map(json.loads, journal.read_text().splitlines())
    for entry in entries:
        entry[-1] = {'counts': entry[-1], 'mean': [0.5, 0.5, 0.5], 'squares': [0.3, 0.3, 0.3]}
    journal.write_text(''.join(json.dumps(line) + '\n' for line in (identity, *entries)))
    assert len(resumed(source, tmp_path / 'out')) == 8


def test_links_point_to_the_originals_and_replace_copies_and_back(source: SourceDataset, tmp_path: Path) -> None:
    copied = write_dataset(tmp_path / 'out', source)
    before = contents(tmp_path / 'out')
    linked = write_dataset(tmp_path / 'out', source, link=True)
    image = linked.samples('train')[0].image_path
    assert image.is_symlink() and image.resolve() == source.splits['train'][0].image_path
    assert not copied.samples('train')[0].labels_path.is_symlink()
    assert contents(tmp_path / 'out') == before
    write_dataset(tmp_path / 'out', source)
    assert not image.is_symlink() and source.splits['train'][0].image_path.is_file()


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda pair: write_image(pair.labels_path, np.full((24, 32), 3, np.uint8)), 'train1_l.png holds label id 3'),
    (lambda pair: write_image(pair.labels_path, np.zeros((24, 31), np.uint8)),
     'train1.png is 32x24 but its labels .*train1_l.png are 31x24'),
    (lambda pair: pair.image_path.write_bytes(pair.image_path.read_bytes()[:-15]), 'train1.png is '),
    (lambda pair: pair.image_path.write_bytes(b''), 'train1.png is damaged'),
    (lambda pair: pair.image_path.unlink(), 'train1.png, the image of .*train1_l.png, is missing'),
    (lambda pair: pair.labels_path.unlink(), 'train1.png has no labels .*train1_l.png'),
], ids=['unknown id', 'other size', 'cut off', 'not an image', 'no image', 'no labels'])
def test_a_bad_pair_is_named_or_skipped(
    damage: Callable[[Pair], object], reason: str, source: SourceDataset, tmp_path: Path
) -> None:
    write_dataset(tmp_path / 'out', source)
    damage(source.splits['train'][1])
    with pytest.raises(EnetError, match=reason):
        write_dataset(tmp_path / 'out', source)
    assert not (tmp_path / 'out' / 'dataset.yaml').exists()
    skipped: list[EnetError] = []
    dataset = write_dataset(tmp_path / 'out', source, on_bad=skipped.append)
    assert len(skipped) == 1 and reason.split()[0] in str(skipped[0])
    # the files and counts of the first conversion are gone
    assert [sample.stem for sample in dataset.samples('train')] == ['train0', 'train2', 'train3', 'train4', 'train5']
    assert not (tmp_path / 'out' / 'train' / 'labels' / 'train1.png').exists()
    assert sum(dataset.pixels['train']) == 5 * 24 * 32


def test_a_split_without_usable_images_is_refused(source: SourceDataset, tmp_path: Path) -> None:
    for pair in source.splits['val']:
        pair.image_path.write_bytes(b'')
    with pytest.raises(DatasetError, match=r'no image of split val of noise can be used'):
        write_dataset(tmp_path / 'out', source, on_bad=lambda error: None)


def test_an_empty_split_is_refused(source: SourceDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'split test of noise has no images'):
        write_dataset(tmp_path / 'out', replace(source, splits={**source.splits, 'test': []}))


def test_two_images_of_the_same_name_are_named(source: SourceDataset, tmp_path: Path) -> None:
    twin = replace(source.splits['val'][0], image_path=tmp_path / 'elsewhere' / 'val0.jpg')
    with pytest.raises(DatasetError, match=r'elsewhere/val0.jpg and .*src/val0.png would both become val/images/val0'):
        write_dataset(tmp_path / 'out', replace(source, splits={'val': [*source.splits['val'], twin]}))
    assert not (tmp_path / 'out').exists()


def test_a_folder_with_other_images_is_not_changed(source: SourceDataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / 'out', source)
    before = contents(tmp_path / 'out')
    with pytest.raises(DatasetError, match=r'out holds the dataset noise with other classes'):
        write_dataset(tmp_path / 'out', replace(source, labels=LabelSet(('a', 'b', 'c'), LABELS.colors)))
    with pytest.raises(DatasetError, match=r'out holds images .* for example .*val0.png'):
        write_dataset(tmp_path / 'out', replace(source, splits={'train': source.splits['train']}))
    assert contents(tmp_path / 'out') == before


def test_converting_again_replaces_a_damaged_dataset_yaml(source: SourceDataset, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'out', source)
    (tmp_path / 'out' / 'dataset.yaml').write_text('names: [a')
    assert write_dataset(tmp_path / 'out', source) == dataset


def test_a_dataset_is_not_converted_into_itself(source: SourceDataset, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'out', source)
    before = contents(tmp_path / 'out')
    pairs = [Pair.of(sample.image_path, sample.labels_path) for sample in dataset.samples('train')]
    splits = {**source.splits, 'train': pairs}
    with pytest.raises(DatasetError, match=r'out holds .*out/train/.*, which is to be converted'):
        write_dataset(tmp_path / 'out', replace(source, splits=splits))
    assert contents(tmp_path / 'out') == before


@pytest.mark.parametrize('room', [100, 1500], ids=['no image fits', 'no labels fit'])
def test_a_full_disk_is_a_one_line_error_and_can_be_resumed(room: int, source: SourceDataset, tmp_path: Path) -> None:
    for pairs in source.splits.values():
        for pair in pairs:
            write_image(pair.image_path, np.zeros((96, 128, 3), np.uint8))
            write_image(pair.labels_path, np.random.default_rng(0).integers(0, 3, (96, 128), np.uint8))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # a test's substitute for a full disk
        with pytest.raises(EnetError, match=r'cannot write .*out/.*: File too large$'):
            write_dataset(tmp_path / 'out', source, on_bad=lambda error: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for path in (tmp_path / 'out').rglob('*.png'):
        assert cv2.imread(str(path)) is not None
    write_dataset(tmp_path / 'out', source)
    write_dataset(tmp_path / 'again', source)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'again')


def test_after_an_error_no_further_images_are_converted(source: SourceDataset, tmp_path: Path) -> None:
    started: list[Pair] = []
    is_reported = threading.Event()

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        started.append(pair)
        if len(started) == 1:
            raise DatasetError('the first')
        is_reported.wait(30)  # the other threads get no further before the error is seen
        return read_ids(pair)

    def report(error: EnetError) -> None:
        is_reported.set()
        raise error

    pairs = [replace(source.splits['train'][0], name=f'{number}') for number in range(1000)]
    with pytest.raises(DatasetError, match='the first'):
        write_dataset(tmp_path / 'out', replace(source, splits={'train': pairs}, to_ids=to_ids), on_bad=report)
    assert len(started) < 500


def test_ctrl_c_is_one_line_and_the_same_command_resumes(tmp_path: Path) -> None:
    image, labels = np.random.default_rng(0).integers(0, 11, (2, 360, 480), np.uint8)
    for number in range(200):
        for folder, pixels in (('train', image), ('trainannot', labels)):
            path = tmp_path / 'src' / folder / f'{number}.png'
            if number == 0:
                write_image(path, pixels)
            else:
                path.symlink_to(tmp_path / 'src' / folder / '0.png')
    command = [sys.executable, '-m', 'enet_ros.cli.main', 'convert', 'camvid', tmp_path / 'src', tmp_path / 'out']
    # the test may run in a background process that ignores SIGINT, which its children inherit
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    journal = tmp_path / 'out' / '.unfinished.jsonl'
    while process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == 'enet: interrupted' and 'Traceback' not in errors
    assert not (tmp_path / 'out' / 'dataset.yaml').exists()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert '200 train images' in done.stdout
    assert not journal.exists()
