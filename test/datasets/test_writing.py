"""What all converters share: resuming, links, bad files, full disks."""

from __future__ import annotations

import json
import os
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
from dataset_files import LABELS, contents, read_ids
from helpers import ROOT
from numpy.typing import NDArray
from resource_limits import file_size_limit

from enet_ros.datasets.prepared import read_dataset
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.files import replacing
from enet_ros.images.files import write_image
from enet_ros.labels import LabelSet


def interrupt_after(source: SourceDataset, root: Path, count: int) -> None:
    """Convert until `count` images are read, then fail as Ctrl-C does."""
    read = []

    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        if len(read) >= count:
            raise KeyboardInterrupt
        read.append(pair)
        return read_ids(pair, size)

    with pytest.raises(KeyboardInterrupt):
        write_dataset(root, replace(source, to_ids=to_ids))


def resumed(source: SourceDataset, root: Path) -> list[str]:
    """Convert the rest and return the names of the images that were read for it."""
    read = []

    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        read.append(pair.name)
        return read_ids(pair, size)

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


def test_images_are_on_the_disk_before_dataset_yaml_is_there(
    source: SourceDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / 'out'
    written: list[list[str]] = []
    monkeypatch.setattr(os, 'sync', lambda: written.append(sorted(contents(root))))
    write_dataset(root, source)
    assert written == [sorted({*contents(root), '.unfinished.jsonl'} - {'dataset.yaml'})]


def test_an_image_that_would_be_hidden_is_named(source: SourceDataset, tmp_path: Path) -> None:
    source = replace(source, splits={'train': [replace(source.splits['train'][0], name='.a')]})
    with pytest.raises(DatasetError, match=r'train0.png would be a hidden file'):
        write_dataset(tmp_path / 'out', source)


def test_what_a_killed_conversion_left_is_removed(source: SourceDataset, tmp_path: Path) -> None:
    root = tmp_path / 'out'
    interrupt_after(source, root, 3)
    for name in ('dataset.yaml', 'train/images/x.png', 'val/labels/x.png'):
        if not (child := os.fork()):
            with replacing(root / name):
                os._exit(0)
        os.waitpid(child, 0)
    write_dataset(root, source)
    write_dataset(tmp_path / 'whole', source)
    assert contents(root) == contents(tmp_path / 'whole')


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
], ids=['unknown id', 'other size', 'cut off', 'not an image'])
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


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda pair: pair.image_path.unlink(), 'val1.png, the image of .*val1_l.png, is missing'),
    (lambda pair: pair.labels_path.unlink(), 'val1.png has no labels .*val1_l.png'),
    (lambda pair: (pair.image_path.unlink(), pair.image_path.mkdir()), 'val1.png, the image of .*, is missing'),
], ids=['no image', 'no labels', 'folder'])
def test_a_missing_file_is_named_before_anything_is_read_or_written(
    damage: Callable[[Pair], object], reason: str, source: SourceDataset, tmp_path: Path
) -> None:
    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        pytest.fail(f'{pair} was read')

    before = write_dataset(tmp_path / 'out', source)
    damage(source.splits['val'][1])
    for root in (tmp_path / 'out', tmp_path / 'other'):
        with pytest.raises(EnetError, match=reason):
            write_dataset(root, replace(source, to_ids=to_ids))
    assert read_dataset(tmp_path / 'out') == before and not (tmp_path / 'other').exists()
    skipped: list[EnetError] = []
    dataset = write_dataset(tmp_path / 'out', source, on_bad=skipped.append)
    assert len(skipped) == 1 and [sample.stem for sample in dataset.samples('val')] == ['val0']


def test_what_the_converter_leaves_out_is_named_before_anything_is_written(source: SourceDataset, tmp_path: Path) -> None:
    source = replace(source, left_out=[DatasetError('more.jpg has no labels')])
    with pytest.raises(DatasetError, match=r'more.jpg has no labels'):
        write_dataset(tmp_path / 'out', source)
    assert not (tmp_path / 'out').exists()
    skipped: list[EnetError] = []
    write_dataset(tmp_path / 'out', source, on_bad=skipped.append)
    assert skipped == list(source.left_out)


def test_a_split_without_usable_images_is_refused(source: SourceDataset, tmp_path: Path) -> None:
    for pair in source.splits['val']:
        pair.image_path.write_bytes(b'')
    with pytest.raises(DatasetError, match=r'no image of split val of noise can be used'):
        write_dataset(tmp_path / 'out', source, on_bad=lambda error: None)
    for pair in source.splits['val']:
        pair.image_path.unlink()
    with pytest.raises(DatasetError, match=r'no image of split val of noise can be used'):
        write_dataset(tmp_path / 'other', source, on_bad=lambda error: None)
    assert not (tmp_path / 'other').exists()


def test_an_empty_split_is_refused(source: SourceDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'split test of noise has no images'):
        write_dataset(tmp_path / 'out', replace(source, splits={**source.splits, 'test': []}))


@pytest.mark.parametrize('room', [100, 1500], ids=['no image fits', 'no labels fit'])
def test_a_full_disk_is_a_one_line_error_and_can_be_resumed(room: int, source: SourceDataset, tmp_path: Path) -> None:
    for pairs in source.splits.values():
        for pair in pairs:
            write_image(pair.image_path, np.zeros((96, 128, 3), np.uint8))
            write_image(pair.labels_path, np.random.default_rng(0).integers(0, 3, (96, 128), np.uint8))
    with file_size_limit(room), pytest.raises(EnetError, match=r'cannot write .*out/.*: File too large$'):
        write_dataset(tmp_path / 'out', source, on_bad=lambda error: None)
    for path in (tmp_path / 'out').rglob('*.png'):
        assert cv2.imread(str(path)) is not None
    write_dataset(tmp_path / 'out', source)
    write_dataset(tmp_path / 'again', source)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'again')


def test_after_an_error_no_further_images_are_converted(source: SourceDataset, tmp_path: Path) -> None:
    started: list[Pair] = []
    is_reported = threading.Event()

    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        started.append(pair)
        if len(started) == 1:
            raise DatasetError('the first')
        is_reported.wait(30)  # the other threads get no further before the error is seen
        return read_ids(pair, size)

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
