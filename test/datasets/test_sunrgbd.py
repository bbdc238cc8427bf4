"""SUN RGB-D in its published layouts. The MATLAB files of the toolbox are made here with the published structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import pair_names, write_photo

from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import by_prefix, by_share
from enet_ros.datasets.sunrgbd import find_sunrgbd
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.labels import VOID

ALL_IDS = np.arange(38, dtype=np.uint8)[None]
TRAIN_IDS = [[VOID, *range(37)]]


def convert(root: Path, destination: Path) -> Dataset:
    return write_dataset(destination, find_sunrgbd(root))


def write_png_layout(root: Path, first_train: int) -> None:
    for folder, number, label in (
        ('test', 1, 1), ('test', 5050, 5050), ('train', first_train, 5051), ('train', first_train + 1, 5052),
    ):
        write_photo(root / f'SUNRGBD-{folder}_images' / f'img-{number:06d}.jpg', 1, 38)
        ids = np.roll(ALL_IDS, label, 1)
        write_image(root / 'sunrgbd_train_test_labels' / f'img-{label:06d}.png', ids)


@pytest.mark.parametrize('first_train', [1, 5051], ids=['from 1', 'consecutive'])
def test_label_pngs_of_training_images_are_numbered_after_those_of_test_images(first_train: int, tmp_path: Path) -> None:
    write_png_layout(tmp_path / 'sun', first_train)
    dataset = convert(tmp_path / 'sun', tmp_path / 'out')
    assert [sample.stem for sample in dataset.samples('test')] == ['img-000001', 'img-005050']
    for split, labels in (('test', (1, 5050)), ('train', (5051, 5052))):
        for sample, label in zip(dataset.samples(split), labels):
            assert sample.read()[1].tolist() == np.roll(TRAIN_IDS, label, 1).tolist()


def test_training_images_can_be_held_out(tmp_path: Path) -> None:
    write_png_layout(tmp_path / 'sun', 1)
    found = pair_names(find_sunrgbd(tmp_path / 'sun', by_share(0.5)))
    assert {split: len(names) for split, names in found.items()} == {'train': 1, 'test': 2, 'val': 1}


def test_an_id_above_37_is_named(tmp_path: Path) -> None:
    write_png_layout(tmp_path / 'sun', 1)
    write_image(tmp_path / 'sun' / 'sunrgbd_train_test_labels' / 'img-000001.png', np.full((1, 38), 38, np.uint8))
    with pytest.raises(DatasetError, match=r'img-000001.png holds label id 38'):
        convert(tmp_path / 'sun', tmp_path / 'out')


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no SUN RGB-D in .* sunrgbd_train_test_labels/'):
        find_sunrgbd(tmp_path)
    write_png_layout(tmp_path, 1)
    (tmp_path / 'sunrgbd_train_test_labels' / 'img-005052.png').unlink()
    with pytest.raises(DatasetError, match=r'train_images/img-000002.jpg has no labels .*img-005052.png'):
        convert(tmp_path, tmp_path / 'out')
    (tmp_path / 'SUNRGBD-test_images' / 'x.jpg').touch()
    with pytest.raises(DatasetError, match=r'x.jpg is not named like an image of SUN RGB-D'):
        find_sunrgbd(tmp_path)


@pytest.mark.parametrize('name', [
    'SUNRGBD-train_images/more/img-000003.jpg', 'SUNRGBD-test_images/x.bmp', 'sunrgbd_train_test_labels/img-000003.png',
])
def test_files_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    write_png_layout(tmp_path / 'sun', 1)
    path = tmp_path / 'sun' / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DatasetError, match=f'{path.parent} holds 1 images or labels .*, for example {path.name}: '):
        convert(tmp_path / 'sun', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.fixture
def toolbox(tmp_path: Path) -> Path:
    """Return a folder with SUNRGBD/ and SUNRGBDtoolbox/ with three images."""
    h5py, scipy_io = pytest.importorskip('h5py'), pytest.importorskip('scipy.io')
    root = tmp_path / 'sun'
    scenes = ('kv1/NYUdata/NYU0001', 'kv2/kinect2data/000002_2014-05-26', 'xtion/sun3ddata/room/0000001')
    toolbox = root / 'SUNRGBDtoolbox'
    for folder in ('Metadata', 'traintestSUNRGBD'):
        (toolbox / folder).mkdir(parents=True)
    # the published paths are those of the machine where the toolbox was made, and some end with a slash
    there = '/n/fs/sun3d/data/SUNRGBD'
    meta = np.array([(f'{there}/{scene}/image/0000103.jpg',) for scene in scenes], [('rgbpath', object)])
    scipy_io.savemat(toolbox / 'Metadata' / 'SUNRGBDMeta.mat', {'SUNRGBDMeta': meta})
    cell = np.empty(2, object)
    cell[:] = [f'{there}/{scenes[1]}', f'{there}/{scenes[2]}/']
    scipy_io.savemat(toolbox / 'traintestSUNRGBD' / 'allsplit.mat', {'alltrain': cell})
    with h5py.File(toolbox / 'Metadata' / 'SUNRGBD2Dseg.mat', 'w') as file:
        references = file.create_dataset('SUNRGBD2Dseg/seglabel', (3, 1), h5py.ref_dtype)
        for index, scene in enumerate(scenes):
            labels = np.roll(ALL_IDS, index, 1).reshape(2, 19)
            references[index, 0] = file.create_dataset(f'#refs#/{index}', data=labels.T).ref  # MATLAB stores columns first
            write_photo(root / 'SUNRGBD' / scene / 'image' / '0000103.jpg', 2, 19)
    return root


def test_images_of_the_toolbox_get_their_labels_and_unique_names(toolbox: Path, tmp_path: Path) -> None:
    dataset = convert(toolbox, tmp_path / 'out')
    found = {sample.stem: sample.read()[1].reshape(-1).tolist() for sample in dataset.samples('train')}
    assert found == {
        'kv2_kinect2data_000002_2014-05-26': np.roll(TRAIN_IDS, 1).tolist()[0],
        'xtion_sun3ddata_room_0000001': np.roll(TRAIN_IDS, 2).tolist()[0],
    }
    (test,) = dataset.samples('test')
    assert test.stem == 'kv1_NYUdata_NYU0001' and test.read()[1].reshape(-1).tolist() == TRAIN_IDS[0]


def test_images_that_the_toolbox_does_not_list_are_noted(toolbox: Path) -> None:
    assert not find_sunrgbd(toolbox).notes
    more = toolbox / 'SUNRGBD' / 'kv1' / 'NYUdata' / 'NYU0002' / 'image' / '1.jpg'
    write_photo(more)
    write_photo(toolbox / 'SUNRGBD' / 'kv1' / 'NYUdata' / 'NYU0001' / 'depth' / '1.png')
    (note,) = find_sunrgbd(toolbox).notes
    assert note.startswith(f'{more.parent} holds 1 images that are not in SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat')


def test_images_of_one_camera_can_be_held_out(toolbox: Path) -> None:
    assert pair_names(find_sunrgbd(toolbox, by_prefix(['xtion'])))['val'] == ['xtion_sun3ddata_room_0000001']


def test_a_damaged_matlab_file_is_named(toolbox: Path, tmp_path: Path) -> None:
    path = toolbox / 'SUNRGBDtoolbox' / 'Metadata' / 'SUNRGBD2Dseg.mat'
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DatasetError, match=r'cannot read labels \d from .*SUNRGBD2Dseg.mat'):
        convert(toolbox, tmp_path / 'out')
    (toolbox / 'SUNRGBDtoolbox' / 'Metadata' / 'SUNRGBDMeta.mat').write_bytes(b'x' * 200)
    with pytest.raises(DatasetError, match=r'cannot read SUNRGBDMeta from .*SUNRGBDMeta.mat'):
        find_sunrgbd(toolbox)
    (toolbox / 'SUNRGBDtoolbox' / 'Metadata' / 'SUNRGBDMeta.mat').write_bytes(bytes(200))
    with pytest.raises(DatasetError, match=r'cannot read SUNRGBDMeta from .*SUNRGBDMeta.mat'):
        find_sunrgbd(toolbox)


def test_matlab_files_without_the_published_fields_are_named(toolbox: Path) -> None:
    scipy_io = pytest.importorskip('scipy.io')
    for name, variable in (('traintestSUNRGBD/allsplit.mat', 'alltrain'), ('Metadata/SUNRGBDMeta.mat', 'SUNRGBDMeta')):
        path = toolbox / 'SUNRGBDtoolbox' / name
        before = path.read_bytes()
        scipy_io.savemat(path, {variable: np.arange(3.)})
        with pytest.raises(DatasetError, match=f'{path} is not valid: .*; unpack SUNRGBDtoolbox.zip again'):
            find_sunrgbd(toolbox)
        path.write_bytes(before)


def test_a_matlab_file_that_crashes_scipy_is_named(toolbox: Path) -> None:
    path = toolbox / 'SUNRGBDtoolbox' / 'traintestSUNRGBD' / 'allsplit.mat'
    content = bytearray(path.read_bytes())
    tag = content.index(b'/n/fs/sun3d') - 8
    content[tag : tag + 4] = bytes(4)  # the type of the characters
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f'cannot read alltrain from {path}: .*; unpack SUNRGBDtoolbox.zip again'):
        find_sunrgbd(toolbox)


def test_labels_of_another_size_than_the_image_are_not_read(toolbox: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    with h5py.File(toolbox / 'SUNRGBDtoolbox' / 'Metadata' / 'SUNRGBD2Dseg.mat', 'r+') as file:
        large = file.create_dataset('large', (500_000, 200_000), np.uint8, chunks=(100, 100))  # 93 GB of zeros, a small file
        file['SUNRGBD2Dseg/seglabel'][0, 0] = large.ref
    with pytest.raises(DatasetError, match=r'labels 0 .*shape \(200000, 500000\), but the image has \(2, 19\)'):
        convert(toolbox, tmp_path / 'out')
