"""`enet convert` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import CLASSES, write_labels, write_pair, write_photo

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import read_dataset


@pytest.fixture
def yard(tmp_path: Path) -> list[str]:
    """Return the arguments for an undivided folder with three images of drive a and one of drive b."""
    (tmp_path / 'classes.yaml').write_text(CLASSES)
    for name in ('a_1', 'a_2', 'a_3', 'b_1'):
        write_pair(tmp_path / 'src', name, [[1, 1, 1, 2], [0, 0, 0, 0]])
    return ['convert', 'folder', str(tmp_path / 'src'), str(tmp_path / 'out'), '--classes', str(tmp_path / 'classes.yaml')]


def bad_usage(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count('\n') == 1
    return errors


def test_a_table_shows_pixels_and_shares_of_each_class(yard: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*yard, '--val-prefix', 'b_']) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    assert lines[:4] == [
        ['class', 'train', 'pixels', '%', 'val', 'pixels', '%'],
        ['ground', '9', '75.00', '3', '75.00'], ['box', '3', '25.00', '1', '25.00'], ['person', '0', '0.00', '0', '0.00'],
    ]
    assert ' '.join(lines[4]).startswith('yard: 3 train, 1 val images with 3 classes in')
    assert 'train has no pixels of class "person"' in captured.err and '"box"' not in captured.err


def test_skip_bad_lists_and_counts_the_images_it_leaves_out(
    yard: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'src' / 'images' / 'a_2.jpg').write_bytes(b'')
    (tmp_path / 'src' / 'labels' / 'a_3.png').unlink()
    assert main([*yard, '--val-prefix', 'b_']) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith('enet: ')
    assert main([*yard, '--val-prefix', 'b_', '--skip-bad']) == 0
    captured = capsys.readouterr()
    skipped = [line for line in captured.err.splitlines() if line.startswith('enet: skipped: ')]
    assert len(skipped) == 2 and 'a_2.jpg' in ''.join(skipped) and 'a_3.jpg' in ''.join(skipped)
    assert '1 train, 1 val images' in captured.out and captured.out.rstrip().endswith('; 2 skipped')


def test_what_is_skipped_is_listed_even_if_nothing_is_left(
    yard: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'src' / 'labels' / 'b_1.png').unlink()
    (tmp_path / 'src' / 'images' / 'b_1.jpg').rename(tmp_path / 'src' / 'images' / 'b_\n1.jpg')
    assert main([*yard, '--val-prefix', 'b_', '--skip-bad']) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith('enet: skipped: ') and r'b_\n1.jpg has no labels' in lines[0]


def test_files_of_other_purposes_are_noted(yard: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = tmp_path / 'city' / 'leftImg8bit' / 'train' / 'a', tmp_path / 'city' / 'gtFine' / 'train' / 'a'
    write_photo(pair[0] / 'a_leftImg8bit.png', 1, 2)
    write_labels(pair[1] / 'a_gtFine_labelIds.png', [[7, 8]])
    write_photo(tmp_path / 'city' / 'leftImg8bit' / 'train_extra' / 'a' / 'b_leftImg8bit.png')
    assert main(['convert', 'cityscapes', str(tmp_path / 'city'), str(tmp_path / 'out')]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('enet: not converted: ')]
    assert 'train_extra/a holds 1 images' in line


def test_src_and_dst_must_differ(yard: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'out').symlink_to(tmp_path / 'src')
    assert main(yard) == 2
    assert 'src is both SRC and DST: choose another folder' in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / 'src').iterdir()) == ['images', 'labels']


def test_options_reach_the_conversion(yard: list[str], tmp_path: Path) -> None:
    assert main([*yard, '--link', '--val-share', '0.5']) == 0
    dataset = read_dataset(tmp_path / 'out')
    assert len(dataset.samples('val')) == 2 and dataset.samples('val')[0].image_path.is_symlink()
    assert main([*yard, '--val-prefix', 'a_']) == 1  # DST holds the first conversion, with other images in val
    assert main([*yard[:3], str(tmp_path / 'other'), *yard[4:], '--val-prefix', 'a_1, b_,']) == 0
    assert [sample.stem for sample in read_dataset(tmp_path / 'other').samples('val')] == ['a_1', 'b_1']


def test_coarse_selects_the_coarse_labels_of_cityscapes(tmp_path: Path) -> None:
    for part, kind in (('train', 'gtFine'), ('train_extra', 'gtCoarse'), ('train', 'gtCoarse')):
        write_photo(tmp_path / 'src' / 'leftImg8bit' / part / 'ulm' / f'{part}_leftImg8bit.png', 1, 1)
        write_labels(tmp_path / 'src' / kind / part / 'ulm' / f'{part}_{kind}_labelIds.png', [[7]])
    for option, count in (([], 1), (['--coarse'], 2)):
        out = tmp_path / f'out{count}'
        assert main(['convert', 'cityscapes', str(tmp_path / 'src'), str(out), *option]) == 0
        assert read_dataset(out).pixels['train'][0] == count


@pytest.mark.parametrize('name', ['camvid', 'cityscapes', 'sunrgbd', 'folder', 'labelme', 'coco', 'voc'])
def test_every_dataset_says_what_src_must_hold(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(['convert', name, '--help'])
    assert caught.value.code == 0
    assert 'SRC' in capsys.readouterr().out.partition('positional arguments')[0].partition(']')[2]
    (tmp_path / 'classes.yaml').write_text(CLASSES)
    needed = ['--classes', str(tmp_path / 'classes.yaml')] if name in ('folder', 'labelme', 'coco', 'voc') else []
    assert main(['convert', name, str(tmp_path / 'none'), str(tmp_path / 'out'), *needed]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / 'none') in line
    assert not (tmp_path / 'out').exists()


def test_bad_usage_is_one_line(yard: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert '--classes' in bad_usage(capsys, *yard[:4])
    assert '"1.5" is not a share' in bad_usage(capsys, *yard, '--val-share', '1.5')
    assert '"half" is not a share' in bad_usage(capsys, *yard, '--val-share', 'half')
    assert 'not allowed with' in bad_usage(capsys, *yard, '--val-share', '0.5', '--val-prefix', 'b_')
    assert '--classes' in bad_usage(capsys, 'convert', 'camvid', '.', '.', '--classes', 'x')
    assert '--allow-outside' in bad_usage(capsys, *yard, '--allow-outside')  # a folder holds no paths
    assert 'DATASET' in bad_usage(capsys, 'convert')
