"""CamVid in its published layouts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_files import pair_names, write_labels

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID

# The colours of CamVid's label_colors.txt, and the one of the 11 classes that each becomes.
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
    """Return CamVid in the layout of the SegNet tutorial: two drawn images in each split, with a strip of void."""
    root = tmp_path / 'published'
    for split in ('train', 'val'):
        for number in range(2):
            image, labels = draw_scene(number, 48, 32)
            labels[:2] = 11
            write_image(root / split / f'{split}{number}.png', image)
            write_image(root / f'{split}annot' / f'{split}{number}.png', labels)
    return root


def test_images_and_labels_are_converted_and_pixels_counted(published: Path, tmp_path: Path) -> None:
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


def test_the_real_camvid_has_its_published_splits(camvid: Path, tmp_path: Path) -> None:
    dataset = convert(camvid, tmp_path / 'prepared')
    assert (len(dataset.samples('train')), len(dataset.samples('val'))) == (367, 101)
    # road is the largest class of street scenes, and void is not counted
    assert CAMVID.names[int(np.argmax(dataset.pixels['train']))] == 'Road'
    assert sum(dataset.pixels['train']) < 367 * 480 * 360


def test_an_unknown_id_is_named_and_leaves_no_dataset(published: Path, tmp_path: Path) -> None:
    path = published / 'trainannot' / 'train1.png'
    write_image(path, np.full((32, 48), 12, np.uint8))
    with pytest.raises(DatasetError, match=r'trainannot/train1.png holds label id 12'):
        convert(published, tmp_path / 'prepared')
    with pytest.raises(DatasetError, match=r'no dataset.yaml'):
        read_dataset(tmp_path / 'prepared')


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda root: (root / 'valannot' / 'val1.png').unlink(), 'val1.png has no labels'),
    (lambda root: (root / 'val' / 'val1.png').unlink(), 'valannot holds 1 images or labels .*, for example val1.png'),
    (lambda root: (root / 'val' / 'val1.png').write_bytes(b'x'), 'val/val1.png is damaged'),
    (lambda root: (root / 'valannot' / 'val1.png').write_bytes(b'x'), 'valannot/val1.png is damaged'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 40), np.uint8)), '48x32 but its labels'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 48, 3), np.uint8)), r'shape \(32, 48, 3\)'),
    (lambda root: [path.unlink() for path in (root / 'val').iterdir()], 'no PNG or JPEG images in .*val'),
    (lambda root: [shutil.rmtree(root / split) for split in ('train', 'val')], 'no CamVid in .*published'),
], ids=['no labels', 'no image', 'bad image', 'bad labels', 'other size', 'colour labels', 'empty split', 'no split'])
def test_damaged_input_is_named(damage: Callable[[Path], object], reason: str, published: Path, tmp_path: Path) -> None:
    damage(published)
    with pytest.raises(EnetError, match=reason):
        convert(published, tmp_path / 'prepared')


@pytest.mark.parametrize('name', [
    'train/more/a.png', 'val/a.bmp', 'trainannot/more/a.png', '701_StillsRaw_full/a.png', 'more/a.png',
])
def test_files_that_are_not_read_are_named(name: str, published: Path, tmp_path: Path) -> None:
    path = published / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DatasetError, match=f'{path.parent} holds 1 images or labels .*, for example {path.name}: '):
        convert(published, tmp_path / 'prepared')


def write_frame(root: Path, name: str, colors: list[tuple[int, int, int]], images: str, labels: str) -> None:
    """Write a frame with one row of labels in `colors` (RGB)."""
    write_labels(root / images / f'{name}.png', [colors])
    write_labels(root / labels / f'{name}_L.png', [colors])


@pytest.mark.parametrize(('images', 'labels'), [
    ('701_StillsRaw_full', 'LabeledApproved_full'), ('test', 'test_labels'),
], ids=['as published', 'from Kaggle'])
def test_the_32_colours_become_11_classes(images: str, labels: str, tmp_path: Path) -> None:
    assert len(CLASSES_32) == 32
    write_frame(tmp_path, '0016E5_07959', [color for color, _ in CLASSES_32.values()], images, labels)
    (sample,) = convert(tmp_path, tmp_path / 'prepared').samples('val')
    expected = [VOID if name is None else CAMVID.names.index(name) for _, name in CLASSES_32.values()]
    assert sample.read()[1].tolist() == [expected]
    assert sample.stem == '0016E5_07959'


def test_frames_get_the_split_of_segnet(tmp_path: Path) -> None:
    for name in ALL_FRAMES:
        write_frame(tmp_path, name, [(128, 64, 128)], '701_StillsRaw_full', 'LabeledApproved_full')
    splits = pair_names(find_camvid(tmp_path))
    assert {split: len(names) for split, names in splits.items()} == {'train': 62 + 101, 'test': 62 + 171}
    assert '0001TP_008520' in splits['train'] and '0001TP_008550' in splits['test']


def test_the_split_by_frame_matches_the_real_camvid(camvid: Path, tmp_path: Path) -> None:
    tutorial = find_camvid(camvid)
    for pairs in tutorial.splits.values():
        for pair in pairs:
            for file in (tmp_path / 'train' / f'{pair.name}.png', tmp_path / 'train_labels' / f'{pair.name}_L.png'):
                file.parent.mkdir(exist_ok=True)
                file.touch()
    assert pair_names(find_camvid(tmp_path)) == pair_names(tutorial)


def test_only_the_known_faulty_file_may_hold_other_colours(tmp_path: Path) -> None:
    for name in ('Seq05VD_f02610', 'Seq05VD_f02640'):
        write_frame(tmp_path, name, [(128, 128, 26), (128, 64, 128)], 'test', 'test_labels')
    with pytest.raises(DatasetError, match=r'Seq05VD_f02640_L.png holds colour \(128, 128, 26\)'):
        convert(tmp_path, tmp_path / 'prepared')
    for name in ('test/Seq05VD_f02640.png', 'test_labels/Seq05VD_f02640_L.png'):
        (tmp_path / name).unlink()
    (sample,) = convert(tmp_path, tmp_path / 'prepared').samples('test')
    assert sample.read()[1].tolist() == [[VOID, CAMVID.names.index('Road')]]


def test_a_file_that_is_not_named_like_a_frame_is_refused(tmp_path: Path) -> None:
    write_frame(tmp_path, '0016E5_last', [(0, 0, 0)], 'train', 'train_labels')
    with pytest.raises(DatasetError, match=r'0016E5_last.png is not named like a frame of CamVid'):
        find_camvid(tmp_path)
