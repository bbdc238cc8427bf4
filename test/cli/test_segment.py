from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Done, enet, refused
from recordings import cut, write_bag, write_mcap, write_video

from enet_ros.images.files import read_labels, write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID


@pytest.fixture
def segment(small_model: Path, tmp_path: Path) -> object:
    """Return a function that segments inputs into `tmp_path`/out."""

    def run(*arguments: object, code: int = 0) -> Done:
        return enet('segment', *arguments, '--out', tmp_path / 'out', '--model', small_model, code=code)

    return run


def labels(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / 'out' / 'labels').iterdir())


def test_labels_and_overlays_have_the_size_of_their_image(segment: object, tmp_path: Path) -> None:
    for name, size in (('wide', (200, 60)), ('small', (31, 17))):
        write_image(tmp_path / 'in' / f'{name}.png', draw_scene(1, *size)[0])
    done = segment(tmp_path / 'in', '--classes', 'Road, Car')
    assert '2 images segmented' in done.stdout
    for name, (width, height) in (('wide', (200, 60)), ('small', (31, 17))):
        ids = read_labels(tmp_path / 'out' / 'labels' / f'{name}.png')
        overlay = cv2.imread(str(tmp_path / 'out' / 'overlays' / f'{name}.jpg'))
        assert ids.shape == (height, width) and overlay.shape == (height, width, 3)
        assert set(np.unique(ids)) <= {CAMVID.names.index('Road'), CAMVID.names.index('Car'), VOID}


def test_images_can_be_cropped_to_the_ratio_of_the_network(segment: object, tmp_path: Path) -> None:
    write_image(tmp_path / 'wide.png', draw_scene(1, 200, 64)[0])
    segment(tmp_path / 'wide.png', '--resize-mode', 'crop')
    known = read_labels(tmp_path / 'out' / 'labels' / 'wide.png') != VOID
    assert known[:, 52:148].all() and known.sum() == 96 * 64


def test_the_index_says_what_every_label_file_was_made_from(segment: object, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'drive', {'/front': 'Image', '/rear': 'Image'}, 2)
    segment(bag, '--topic', '/rear')
    with (tmp_path / 'out' / 'index.csv').open(newline='') as file:
        rows = list(csv.reader(file))
    assert rows == [
        ['labels', 'source', 'topic', 'sec', 'nanosec'],
        ['labels/drive_1_000000500.png', str(bag), '/rear', '1', '500'],
        ['labels/drive_2_000000500.png', str(bag), '/rear', '2', '500'],
    ]
    text = ' '.join(enet('segment', '--help').stdout.split())
    assert 'index.csv' in text and 'labels, source, topic, sec, nanosec' in text


def test_a_second_topic_is_refused_and_the_labels_of_the_first_are_kept(segment: object, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'drive', {'/front': 'Image', '/rear': 'Image'}, 2)
    segment(bag, '--topic', '/front')
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*')}
    line = segment(bag, '--topic', '/rear', code=1).stderr
    assert f'topic /rear of {bag}' in line and f'topic /front of {bag}' in line and '--out' in line and line.count('\n') == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*')} == before


def test_two_inputs_with_the_same_names_are_refused_before_anything_is_written(segment: object, tmp_path: Path) -> None:
    for folder in ('a', 'b'):
        write_image(tmp_path / folder / 'x.png', draw_scene(1, 48, 32)[0])
    line = segment(tmp_path / 'a', tmp_path / 'b', code=1).stderr
    assert 'a/x.png' in line and 'b/x.png' in line and '--out' in line
    assert not (tmp_path / 'out').exists()


def test_the_same_command_replaces_its_results_but_not_corrected_labels(segment: object, tmp_path: Path) -> None:
    for name in ('x', 'y'):
        write_image(tmp_path / 'in' / f'{name}.png', draw_scene(1, 48, 32)[0])
    for _ in range(2):
        segment(tmp_path / 'in')
    corrected = tmp_path / 'out' / 'labels' / 'y.png'
    write_image(corrected, np.full((32, 48), 3, np.uint8))
    assert f'{corrected} was not written by "enet segment", or changed since' in segment(tmp_path / 'in', code=1).stderr
    assert (read_labels(corrected) == 3).all()


def test_ground_truth_beside_the_images_is_not_replaced(small_model: Path, tmp_path: Path) -> None:
    image, truth = draw_scene(1, 48, 32)
    write_image(tmp_path / 'images' / 'x.png', image)
    write_image(tmp_path / 'labels' / 'x.png', truth)
    line = refused('segment', tmp_path / 'images', '--out', tmp_path, '--model', small_model)
    assert f'{tmp_path}/labels/x.png was not written by' in line
    assert (read_labels(tmp_path / 'labels' / 'x.png') == truth).all()


def test_a_damaged_image_is_named_and_the_others_are_segmented(segment: object, tmp_path: Path) -> None:
    for name in ('bad', 'good'):
        write_image(tmp_path / 'in' / f'{name}.png', draw_scene(1, 48, 32)[0])
    segment(tmp_path / 'in')
    (tmp_path / 'in' / 'bad.png').write_bytes(b'not an image')
    done = segment(tmp_path / 'in', code=4)
    assert 'bad.png is damaged, incomplete or not an image' in done.stderr
    assert '1 images segmented' in done.stdout and 'incomplete' in done.stdout
    # the labels of the earlier run would not be those of the damaged image
    assert labels(tmp_path) == ['good.png'] and len(list((tmp_path / 'out' / 'overlays').iterdir())) == 1


def test_a_name_that_is_too_long_costs_one_image_and_its_line_is_one_line(segment: object, tmp_path: Path) -> None:
    video = write_video(tmp_path / f'a\n{"x" * 243}.avi', 1)
    write_image(tmp_path / 'in' / f'{"y" * 251}.png', draw_scene(1, 48, 32)[0])
    done = segment(video, tmp_path / 'in', code=4)
    (line,) = (line for line in done.stderr.splitlines() if 'rename it' in line)
    assert line.startswith(f'enet: {tmp_path}/a\\nxxx') and '256 bytes' in line
    assert labels(tmp_path) == ['y' * 251 + '.png'] and '1 images segmented' in done.stdout


def test_only_damaged_images_are_an_error(segment: object, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(b'not an image')
    assert 'x.png is damaged, incomplete' in segment(tmp_path / 'x.png', code=1).stderr


def test_a_video_that_ends_early_is_segmented_as_far_as_it_goes(segment: object, tmp_path: Path) -> None:
    video = write_video(tmp_path / 'film.avi', 8)
    cut(video, video.stat().st_size // 2)
    done = segment(video, code=4)
    count = len(labels(tmp_path))
    assert 0 < count < 8 and f'film.avi ends early: {count} of 8 frames' in done.stderr
    assert f'{count} images segmented' in done.stdout


def test_an_incomplete_recording_is_segmented_as_far_as_it_goes(segment: object, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 12)
    cut(path, path.stat().st_size // 2)
    write_image(tmp_path / 'x.png', draw_scene(1, 48, 32)[0])
    done = segment(path, tmp_path / 'x.png', code=4)
    count = len(labels(tmp_path)) - 1
    assert 0 < count < 12 and f'drive.mcap is an incomplete recording: {count} messages were read' in done.stderr
    assert f'{count + 1} images segmented' in done.stdout  # and the input after it


def test_skipped_sub_folders_are_reported(segment: object, tmp_path: Path) -> None:
    for name in ('x.png', 'sub/y.png'):
        write_image(tmp_path / 'in' / name, draw_scene(1, 48, 32)[0])
    assert '1 sub-folders' in segment(tmp_path / 'in').stderr
    assert labels(tmp_path) == ['x.png']


def test_invalid_inputs_and_models_are_one_line_and_nothing_is_written(small_model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / 'in' / 'x.png', draw_scene(1, 48, 32)[0])
    (tmp_path / 'x.mp4').write_bytes(b'not a video' * 100)
    image, out = tmp_path / 'in' / 'x.png', ('--out', tmp_path / 'out')
    assert 'x.mp4 is not an image' in refused('segment', tmp_path / 'x.mp4', *out)
    assert 'no such input' in refused('segment', tmp_path / 'none', *out)
    assert str(tmp_path / 'none') in refused('segment', image, *out, '--model', tmp_path / 'none')
    assert 'damaged' in refused('segment', image, *out, '--model', image)
    assert '"Raod"' in refused('segment', image, *out, '--model', small_model, '--classes', 'Raod')
    assert not (tmp_path / 'out').exists()
