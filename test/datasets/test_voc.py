"""Pascal VOC's segmentation layout as CVAT, labelme2voc and Pascal VOC write it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dataset_files import only_labels, pair_names, sample_names, write_labels, write_photo

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.datasets.splitting import by_prefix
from enet_ros.datasets.voc import find_voc
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.labels import VOID

CVAT = '''# label:color_rgb:parts:actions
background:0,0,0::
box:250,50,83::
ground:51,221,255:a,b:c
person:102,255,102::
'''
CVAT_COLORS = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255), (102, 255, 102)], np.uint8)
CVAT_IDS = [VOID, 1, 0, 2]
# from the documentation of Pascal VOC's development kit
VOC_COLORS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128), 20: (0, 64, 128),
              255: (224, 224, 192)}
VOC_CLASSES = """
name: people
source: Pascal VOC 2012
license: see its web page
classes:
  - {name: other, color: [1, 2, 3], from: [background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow,
     diningtable, dog, horse, motorbike, pottedplant, sheep, sofa, train, tvmonitor]}
  - {name: person, color: [9, 9, 9]}
"""


def write_mask(root: Path, name: str, colors: object, folder: str = 'SegmentationClass', suffix: str = '.jpg') -> None:
    """Write an image and a mask of RGB colours."""
    write_labels(root / folder / f'{name}.png', colors)
    write_photo(root / 'JPEGImages' / f'{name}{suffix}', *np.shape(colors)[:2])


def write_palette_mask(root: Path, name: str, ids: list[list[int]]) -> None:
    """Write an image and a mask of ids with the palette of Pascal VOC."""
    image = pytest.importorskip('PIL.Image').fromarray(np.array(ids, np.uint8), 'P')
    palette = np.zeros((256, 3), np.uint8)
    palette[list(VOC_COLORS)] = list(VOC_COLORS.values())
    image.putpalette(palette.reshape(-1).tolist())
    (root / 'SegmentationClass').mkdir(parents=True, exist_ok=True)
    image.save(root / 'SegmentationClass' / f'{name}.png')
    write_photo(root / 'JPEGImages' / f'{name}.jpg', *np.shape(ids))


def write_list(root: Path, name: str, *lines: str, task: str = 'Segmentation') -> None:
    path = root / 'ImageSets' / task / f'{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines))


def convert(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_voc(root, classes, None))


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    """Return an unpacked archive of CVAT's format "Segmentation mask" with two subsets, folders and spaces in names."""
    root = tmp_path / 'export'
    root.mkdir()
    (root / 'labelmap.txt').write_text(CVAT)
    for name in ('day/frame 1', 'night/frame 1', 'night/frame.2'):
        write_mask(root, name, CVAT_COLORS[[[0, 1, 2, 3], [3, 3, 1, 0]]], suffix='.PNG')
        write_labels(root / 'SegmentationObject' / f'{name}.png', CVAT_COLORS[[[0, 1, 2, 3], [3, 3, 1, 0]]])
    write_list(root, 'Train', 'day/frame 1', 'night/frame 1')
    write_list(root, 'Validation', '"night/frame.2"')
    with zipfile.ZipFile(tmp_path / 'cvat.zip', 'w') as archive:
        for path in root.rglob('*'):
            archive.write(path, path.relative_to(root))
    with zipfile.ZipFile(tmp_path / 'cvat.zip') as archive:
        archive.extractall(tmp_path / 'src')
    return tmp_path / 'src'


def test_an_archive_of_cvat_gives_the_ids_that_were_painted(cvat: Path, classes: Path, tmp_path: Path) -> None:
    dataset = convert(cvat, classes)
    assert sample_names(dataset) == {'train': ['day_frame 1', 'night_frame 1'], 'val': ['night_frame.2']}
    painted = np.array(CVAT_IDS)[[[0, 1, 2, 3], [3, 3, 1, 0]]].tolist()
    for sample in (*dataset.samples('train'), *dataset.samples('val')):
        assert sample.read()[1].tolist() == painted


def test_background_is_the_rest_unless_the_classes_file_lists_it(cvat: Path, classes: Path, tmp_path: Path) -> None:
    text = classes.read_text()
    for more, expected in (('rest: person\n', 2), ('rest: person\n', 0)):
        classes.write_text((text if expected else text.replace('from: [1,', 'from: [ground, background, 1,')) + more)
        dataset = write_dataset(tmp_path / f'out{expected}', find_voc(cvat, classes, None))
        assert dataset.samples('val')[0].read()[1].tolist()[0] == [expected, 1, 0, 2]


def test_masks_of_ids_mean_the_classes_in_the_order_of_labelmap(classes: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / 'src', 'a', [[0, 1, 2, 3, 255]])
    (tmp_path / 'src' / 'labelmap.txt').write_text(CVAT)
    write_list(tmp_path / 'src', 'train', 'a')
    assert only_labels(convert(tmp_path / 'src', classes)) == [[*CVAT_IDS, VOID]]


def test_id_255_is_void_however_many_classes_there_are(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    names = [f'class{number}' for number in range(300)]
    classes.write_text(classes.read_text().replace('crate]', f'{", ".join(names)}]'))
    write_mask(root, 'a', [[0, 254, 255]])
    write_list(root, 'train', 'a')
    (root / 'class_names.txt').write_text('\n'.join(names))
    assert only_labels(convert(root, classes)) == [[1, 1, VOID]]


@pytest.mark.parametrize('folder', ['SegmentationClass', 'SegmentationClassPNG'])
def test_what_labelme2voc_writes_is_divided(folder: str, classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    for name in ('a1', 'a2', 'b1'):
        write_mask(root, name, [[VOC_COLORS[0], VOC_COLORS[1], VOC_COLORS[2], VOC_COLORS[255]]], folder)
    for other in ('SegmentationClass/a1.npy', 'SegmentationClassVisualization/a1.jpg'):
        (root / other).parent.mkdir(exist_ok=True)
        (root / other).touch()
    (root / 'class_names.txt').write_text('_background_\ncrate\nperson')
    source = find_voc(root, classes, by_prefix(['b']))
    assert pair_names(source) == {'train': ['a1', 'a2'], 'val': ['b1']}
    (sample,) = write_dataset(tmp_path / 'out', source).samples('val')
    assert sample.read()[1].tolist() == [[VOID, 1, 2, VOID]]


def test_pascal_voc_has_its_splits_classes_and_void(tmp_path: Path) -> None:
    root, classes = tmp_path / 'VOC2012', tmp_path / 'classes.yaml'
    classes.write_text(VOC_CLASSES)
    for name in ('2007_000032', '2007_000033', '2007_000039'):
        write_palette_mask(root, name, [[0, 1, 7, 15, 20, 255]])
    write_photo(root / 'JPEGImages' / '2008_000001.jpg')  # an image of another task
    write_list(root, 'person_train', '2008_000001  1', '2007_000032 -1', task='Main')
    write_list(root, 'train', '2007_000032', '2007_000033')
    write_list(root, 'val', '2007_000039')
    write_list(root, 'trainval', '2007_000032', '2007_000033', '2007_000039')
    write_labels(root / 'SegmentationObject' / '2007_000032.png', [[0]])
    assert find_voc(root, classes, None).notes == [
        f"{root}/JPEGImages holds 1 images of Pascal VOC's other tasks, for example 2008_000001.jpg",
        f'{root}/SegmentationObject holds 1 masks of another form, for example 2007_000032.png',
    ]
    dataset = convert(root, classes)
    assert sample_names(dataset) == {'train': ['2007_000032', '2007_000033'], 'val': ['2007_000039']}
    assert dataset.samples('val')[0].read()[1].tolist() == [[0, 0, 0, 1, 0, VOID]]


def test_masks_and_images_that_no_list_names_are_named_or_skipped(cvat: Path, classes: Path, tmp_path: Path) -> None:
    write_mask(cvat, 'more', CVAT_COLORS[[[1]]])
    write_photo(cvat / 'JPEGImages' / 'empty.jpg')  # CVAT writes no mask for a frame without annotations
    source = find_voc(cvat, classes, None)
    with pytest.raises(DatasetError, match=r'JPEGImages holds 2 images or masks in no list .* for example empty.jpg: '):
        write_dataset(tmp_path / 'out', source)
    skipped: list[EnetError] = []
    write_dataset(tmp_path / 'out', source, on_bad=skipped.append)
    assert len(skipped) == 2 and 'SegmentationClass holds 1 images or masks in no list' in str(skipped[1])


@pytest.mark.parametrize('name', ['JPEGImages/more.bmp', 'SegmentationClass/more.jpg', 'other/more.jpg'])
def test_files_that_are_not_read_are_named(name: str, cvat: Path, classes: Path) -> None:
    (cvat / name).parent.mkdir(exist_ok=True)
    (cvat / name).touch()
    with pytest.raises(DatasetError, match=f'{(cvat / name).parent} holds 1 images or masks .* for example more'):
        convert(cvat, classes)


@pytest.mark.parametrize(('lists', 'reason'), [
    ({'train': ['a', 'b'], 'val': ['b']}, r'val.txt lists b, and so does that of train'),
    ({'train': ['a'], 'trainval': ['a', 'b']}, r'trainval.txt lists b, which the lists of train lack'),
    ({'train': ['a', 'c']}, r'JPEGImages/c.jpg, the image of .*SegmentationClass/c.png, is missing'),
    ({'train': ['a', 'd']}, r'JPEGImages/d.jpg has no labels .*SegmentationClass/d.png'),
    ({'train': ['a', '../../secret']}, r'JPEGImages/../../secret.jpg is outside of .*src: .* --allow-outside'),
    ({'train': ['a', 'x' * 300]}, r'train.txt is not valid: .* cannot be the path of a file'),
    ({'train': ['a', '""']}, r'train.txt is not valid: "" cannot be the path of a file'),
    ({'train': ['x/a', 'y/a', 'x_a']}, r'would both become train/images/x_a'),
], ids=['two splits', 'in no split', 'no image', 'no mask', 'outside', 'long name', 'no name', 'same name'])
def test_lists_that_cannot_be_used_are_named(
    lists: dict[str, list[str]], reason: str, classes: Path, tmp_path: Path
) -> None:
    root = tmp_path / 'src'
    for name in ('a', 'b', 'x/a', 'y/a', 'x_a'):
        write_mask(root, name, [[CVAT_COLORS[1]]])
    (root / 'labelmap.txt').write_text(CVAT)
    write_photo(root / 'JPEGImages' / 'd.jpg')
    write_photo(tmp_path / 'secret.jpg')
    write_labels(tmp_path / 'secret.png', [[0]])
    for name, lines in lists.items():
        write_list(root, name, *lines)
    with pytest.raises(DatasetError, match=reason):
        convert(root, classes)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('labelmap', 'reason'), [
    ('box:1,2,3::\ncat:4,5,6::', r'labelmap.txt uses class "cat", which is not in the classes file'),
    ('box:1,2::', r'labelmap.txt is not valid'), ('box:1,2,300::', r'labelmap.txt is not valid'),
    ('box:::', r'labelmap.txt is not valid'), ('box', r'labelmap.txt is not valid'),
    ('box:1,2,3::\nbox:4,5,6::', r'labelmap.txt is not valid: class "box" occurs twice'),
    ('box:1,2,3::\nground:1,2,3::', r'class "ground" has the colour \(1, 2, 3\) of another class'),
    ('\udcff', r'cannot read .*labelmap.txt'),
], ids=['unknown class', 'two values', 'large value', 'no colour', 'no columns', 'same class', 'same colour', 'not UTF-8'])
def test_a_labelmap_that_cannot_be_used_is_named(labelmap: str, reason: str, classes: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / 'src', 'a', [[(1, 2, 3)]])
    (tmp_path / 'src' / 'labelmap.txt').write_text(labelmap, errors='surrogateescape')
    with pytest.raises(DatasetError, match=reason) as caught:
        find_voc(tmp_path / 'src', classes, None)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['labelmap.txt', 'ImageSets/Segmentation/train.txt'])
def test_a_list_that_is_a_named_pipe_is_named(name: str, classes: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / 'src', 'a', [[(1, 2, 3)]])
    (tmp_path / 'src' / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / 'src' / name)
    with pytest.raises(DatasetError, match=rf'cannot read .*{name}: it is not a regular file'):
        convert(tmp_path / 'src', classes)


def test_a_colour_that_is_no_class_is_named(cvat: Path, classes: Path) -> None:
    write_labels(cvat / 'SegmentationClass' / 'night' / 'frame.2.png', CVAT_COLORS[[[0, 1, 2, 3], [3, 3, 1, 0]]] + 1)
    with pytest.raises(DatasetError, match=r'frame.2.png holds colour \(1, 1, 1\), which is not a class'):
        convert(cvat, classes)


def test_other_colours_in_labelmap_make_a_conversion_start_over(cvat: Path, classes: Path) -> None:
    before = find_voc(cvat, classes, None).settings
    (cvat / 'labelmap.txt').write_text(CVAT.replace('250,50,83', '250,50,84'))
    assert find_voc(cvat, classes, None).settings != before


def test_a_folder_without_masks_or_images_is_refused(classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'JPEGImages' / 'a.jpg')
    with pytest.raises(DatasetError, match=r'no images in .*JPEGImages or no PNGs in .*SegmentationClass'):
        find_voc(tmp_path, classes, None)


def test_two_images_of_a_mask_are_named(classes: Path, tmp_path: Path) -> None:
    write_mask(tmp_path, 'a', [[VOC_COLORS[0]]])
    write_photo(tmp_path / 'JPEGImages' / 'a.png')
    with pytest.raises(DatasetError, match=r'a.jpg and .*a.png have the same name'):
        find_voc(tmp_path, classes, None)


def test_the_command_reads_images_outside_of_src_only_if_allowed(
    cvat: Path, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = cvat / 'JPEGImages' / 'night' / 'frame.2.PNG'
    image.rename(tmp_path / 'elsewhere.PNG')
    image.symlink_to(tmp_path / 'elsewhere.PNG')
    command = ['convert', 'voc', str(cvat), str(tmp_path / 'out'), '--classes', str(classes)]
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'frame.2.PNG is outside of' in line and not (tmp_path / 'out').exists()
    assert main([*command, '--allow-outside']) == 0
    assert len(read_dataset(tmp_path / 'out').samples('val')) == 1
