"""Where a conversion may write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import LABELS, contents

from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.labels import LabelSet


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
    with pytest.raises(DatasetError, match=r'out holds files .* for example .*val0.png'):
        write_dataset(tmp_path / 'out', replace(source, splits={'train': source.splits['train']}))
    assert contents(tmp_path / 'out') == before


@pytest.mark.parametrize('name', [
    'dataset.yaml', '.unfinished.jsonl', 'train/images/train3.png', 'train/labels/train3.png', 'val/labels/val0.png', 'val',
    'train/labels',
])
@pytest.mark.parametrize('kind', ['file', 'link', 'dangling link'])
def test_a_file_that_no_conversion_wrote_is_not_replaced(
    name: str, kind: str, source: SourceDataset, tmp_path: Path
) -> None:
    path = tmp_path / 'out' / name
    path.parent.mkdir(parents=True)
    if kind == 'file':
        path.write_text('names: [mine]')
    else:
        path.symlink_to(tmp_path / 'mine')
    if kind == 'link':
        (tmp_path / 'mine').write_text('names: [mine]')
    with pytest.raises(DatasetError, match=rf'out/{name} exists, and "enet convert" did not write it: choose another'):
        write_dataset(tmp_path / 'out', source, on_bad=lambda error: None)
    assert [one for one in (tmp_path / 'out').rglob('*') if not one.is_dir()] == [path]
    assert kind == 'dangling link' or path.read_text() == 'names: [mine]'


def test_a_split_that_an_earlier_conversion_did_not_write_is_not_replaced(source: SourceDataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / 'out', replace(source, splits={'train': source.splits['train']}))
    path = tmp_path / 'out' / 'val' / 'images' / 'val0.png'
    path.parent.mkdir(parents=True)
    path.write_text('mine')
    with pytest.raises(DatasetError, match=r'val0.png exists, and "enet convert" did not write it'):
        write_dataset(tmp_path / 'out', source)
    assert path.read_text() == 'mine'


def test_a_finished_and_an_unfinished_conversion_are_replaced(source: SourceDataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / 'out', source)
    whole = contents(tmp_path / 'out')
    (tmp_path / 'out' / 'train' / 'images' / 'train2.png').unlink()
    assert contents(write_dataset(tmp_path / 'out', source).root) == whole
    journal = json.dumps([2, 'noise', LABELS.names, LABELS.colors, '', False])
    (tmp_path / 'out' / '.unfinished.jsonl').write_text(f'{journal}\n')
    (tmp_path / 'out' / 'dataset.yaml').unlink()
    assert contents(write_dataset(tmp_path / 'out', source).root) == whole


def test_a_dataset_is_not_converted_into_itself(source: SourceDataset, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'out', source)
    before = contents(tmp_path / 'out')
    pairs = [Pair.of(sample.image_path, sample.labels_path) for sample in dataset.samples('train')]
    splits = {**source.splits, 'train': pairs}
    with pytest.raises(DatasetError, match=r'out holds .*out/train/.*, which is to be converted'):
        write_dataset(tmp_path / 'out', replace(source, splits=splits))
    assert contents(tmp_path / 'out') == before
