"""CamVid's forms, in the layouts they are published in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID

# The colours of CamVid's label_colors.txt, and which of the 11 classes each becomes.
CLASSES_32 = {
    'Animal': ((64, 128, 64), 'Pedestrian'),
    'Archway': ((192, 0, 128), 'Building'),
    'Bicyclist': ((0, 128, 192), 'Bicyclist'),
    'Bridge': ((0, 128, 64), 'Building'),
    'Building': ((128, 0, 0), 'Building'),
    'Car': ((64, 0, 128), 'Car'),
    'CartLuggagePram': ((64, 0, 192), 'Pedestrian'),
    'Child': ((192, 128, 64), 'Pedestrian'),
    'Column_Pole': ((192, 192, 128), 'Pole'),
    'Fence': ((64, 64, 128), 'Fence'),
    'LaneMkgsDriv': ((128, 0, 192), 'Road'),
    'LaneMkgsNonDriv': ((192, 0, 64), 'Road'),
    'Misc_Text': ((128, 128, 64), 'SignSymbol'),
    'MotorcycleScooter': ((192, 0, 192), 'Bicyclist'),
    'OtherMoving': ((128, 64, 64), 'Car'),
    'ParkingBlock': ((64, 192, 128), 'Pavement'),
    'Pedestrian': ((64, 64, 0), 'Pedestrian'),
    'Road': ((128, 64, 128), 'Road'),
    'RoadShoulder': ((128, 128, 192), 'Pavement'),
    'Sidewalk': ((0, 0, 192), 'Pavement'),
    'SignSymbol': ((192, 128, 128), 'SignSymbol'),
    'Sky': ((128, 128, 128), 'Sky'),
    'SUVPickupTruck': ((64, 128, 192), 'Car'),
    'TrafficCone': ((0, 0, 64), 'Pole'),
    'TrafficLight': ((0, 64, 64), 'SignSymbol'),
    'Train': ((192, 64, 128), 'Car'),
    'Tree': ((128, 128, 0), 'Tree'),
    'Truck_Bus': ((192, 128, 192), 'Car'),
    'Tunnel': ((64, 0, 64), 'Building'),
    'VegetationMisc': ((192, 192, 0), 'Tree'),
    'Void': ((0, 0, 0), None),
    'Wall': ((64, 192, 0), 'Building'),
}
ALL_FRAMES = (
    *(f'0001TP_{number:06d}' for number in range(6690, 10381, 30)),
    *(f'0006R0_f{number:05d}' for number in range(930, 3931, 30)),
    *(f'Seq05VD_f{number:05d}' for number in range(0, 5101, 30)),
)


def convert(root: Path, destination: Path) -> Dataset:
    return write_dataset(destination, find_camvid(root))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder in CamVid's published layout, with two drawn images a split and a strip of unlabelled pixels."""
    root = tmp_path / 'published'
    for split in ('train', 'val'):
        for number in range(2):
            image, labels = draw_scene(number, 48, 32)
            labels[:2] = 11
            write_image(root / split / f'{split}{number}.png', image)
            write_image(root / f'{split}annot' / f'{split}{number}.png', labels)
    return root


def test_camvid_converts_images_labels_and_counts(published: Path, tmp_path: Path) -> None:
    dataset = convert(published, tmp_path / 'prepared')
    assert dataset == read_dataset(tmp_path / 'prepared')
    assert dataset.labels == CAMVID
    samples = dataset.samples('train')
    assert [sample.stem for sample in samples] == ['train0', 'train1']
    counts = np.zeros(11, int)
    for number, sample in enumerate(samples):
        image, labels = sample.read()
        assert (image == draw_scene(number, 48, 32)[0]).all()
        assert (labels[:2] == VOID).all()
        assert (labels[2:] == draw_scene(number, 48, 32)[1][2:]).all()
        counts += np.bincount(labels[2:].reshape(-1), minlength=11)[:11]
    assert dataset.pixels['train'] == counts.tolist()


def test_camvid_writes_mean_and_std_of_the_training_images(published: Path, tmp_path: Path) -> None:
    convert(published, tmp_path / 'prepared')
    fields = yaml.safe_load((tmp_path / 'prepared' / 'dataset.yaml').read_text())
    rgb = np.stack([draw_scene(number, 48, 32)[0] for number in range(2)])[..., ::-1].reshape(-1, 3) / 255
    np.testing.assert_allclose(fields['mean'], rgb.mean(0), atol=1e-4)
    np.testing.assert_allclose(fields['std'], rgb.std(0), atol=1e-4)


def test_the_real_camvid_has_its_published_sizes(camvid: Path, tmp_path: Path) -> None:
    dataset = convert(camvid, tmp_path / 'prepared')
    assert (len(dataset.samples('train')), len(dataset.samples('val'))) == (367, 101)
    # roads are the largest class of every street, and nothing of void is counted
    assert CAMVID.names[int(np.argmax(dataset.pixels['train']))] == 'Road'
    assert sum(dataset.pixels['train']) < 367 * 480 * 360


def test_an_unknown_id_names_the_file_and_leaves_no_dataset(published: Path, tmp_path: Path) -> None:
    path = published / 'trainannot' / 'train1.png'
    write_image(path, np.full((32, 48), 12, np.uint8))
    with pytest.raises(DatasetError, match=r'trainannot/train1.png holds label id 12'):
        convert(published, tmp_path / 'prepared')
    with pytest.raises(DatasetError, match=r'no dataset.yaml'):
        read_dataset(tmp_path / 'prepared')


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda root: (root / 'valannot' / 'val1.png').unlink(), 'val1.png has no labels'),
    (lambda root: (root / 'val' / 'val1.png').write_bytes(b'x'), 'val/val1.png is missing, damaged'),
    (lambda root: (root / 'valannot' / 'val1.png').write_bytes(b'x'), 'valannot/val1.png is missing, damaged'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 40), np.uint8)), '48x32 but its labels'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 48, 3), np.uint8)), r'shape \(32, 48, 3\)'),
    (lambda root: [path.unlink() for path in (root / 'val').iterdir()], 'no PNG or JPEG images in .*val'),
    (lambda root: [shutil.rmtree(root / split) for split in ('train', 'val')], 'no CamVid in .*published: give the folder'),
], ids=['no labels', 'bad image', 'bad labels', 'other size', 'color labels', 'empty split', 'no split'])
def test_damaged_input_is_named(damage: Callable[[Path], object], reason: str, published: Path, tmp_path: Path) -> None:
    damage(published)
    with pytest.raises(EnetError, match=reason):
        convert(published, tmp_path / 'prepared')


def write_frame(root: Path, name: str, colors: list[tuple[int, int, int]], images: str, labels: str) -> None:
    """Write a frame whose labels are one row of `colors` (RGB)."""
    row = np.array([colors], np.uint8)
    write_image(root / images / f'{name}.png', row)
    write_image(root / labels / f'{name}_L.png', row[..., ::-1])


@pytest.mark.parametrize(('images', 'labels'), [
    ('701_StillsRaw_full', 'LabeledApproved_full'), ('test', 'test_labels'),
], ids=['as published', 'from Kaggle'])
def test_the_32_colors_become_11_classes(images: str, labels: str, tmp_path: Path) -> None:
    assert len(CLASSES_32) == 32
    write_frame(tmp_path, '0016E5_07959', [color for color, _ in CLASSES_32.values()], images, labels)
    (sample,) = convert(tmp_path, tmp_path / 'prepared').samples('val')
    expected = [VOID if name is None else CAMVID.names.index(name) for _, name in CLASSES_32.values()]
    assert sample.read()[1].tolist() == [expected]
    assert sample.stem == '0016E5_07959'


def test_frames_are_split_as_segnet_did(tmp_path: Path) -> None:
    for name in ALL_FRAMES:
        write_frame(tmp_path, name, [(128, 64, 128)], '701_StillsRaw_full', 'LabeledApproved_full')
    splits = {split: [pair.name for pair in pairs] for split, pairs in find_camvid(tmp_path).splits.items()}
    assert {split: len(names) for split, names in splits.items()} == {'train': 62 + 101, 'test': 62 + 171}
    assert '0001TP_008520' in splits['train'] and '0001TP_008550' in splits['test']


def test_the_split_by_frame_is_that_of_the_real_camvid(camvid: Path, tmp_path: Path) -> None:
    tutorial = find_camvid(camvid)
    for pairs in tutorial.splits.values():
        for pair in pairs:
            for file in (tmp_path / 'train' / f'{pair.name}.png', tmp_path / 'train_labels' / f'{pair.name}_L.png'):
                file.parent.mkdir(exist_ok=True)
                file.touch()
    frames = find_camvid(tmp_path)
    assert {split: [pair.name for pair in pairs] for split, pairs in frames.splits.items()} == {
        split: [pair.name for pair in pairs] for split, pairs in tutorial.splits.items()
    }


def test_only_the_file_that_is_known_as_faulty_may_hold_other_colors(tmp_path: Path) -> None:
    for name in ('Seq05VD_f02610', 'Seq05VD_f02640'):
        write_frame(tmp_path, name, [(128, 128, 26), (128, 64, 128)], 'test', 'test_labels')
    with pytest.raises(DatasetError, match=r'Seq05VD_f02640_L.png holds colour \(128, 128, 26\)'):
        convert(tmp_path, tmp_path / 'prepared')
    (tmp_path / 'test' / 'Seq05VD_f02640.png').unlink()
    (sample,) = convert(tmp_path, tmp_path / 'prepared').samples('test')
    assert sample.read()[1].tolist() == [[VOID, CAMVID.names.index('Road')]]


def test_a_frame_of_another_name_is_refused(tmp_path: Path) -> None:
    write_frame(tmp_path, '0016E5_last', [(0, 0, 0)], 'train', 'train_labels')
    with pytest.raises(DatasetError, match=r'0016E5_last.png is named like no frame of CamVid'):
        find_camvid(tmp_path)
