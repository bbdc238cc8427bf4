from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from recordings import write_bag, write_video
from resource_limits import file_size_limit

from enet_ros.errors import EnetError, ImageFileError
from enet_ros.images.files import write_image
from enet_ros.images.frames import FrameSource
from enet_ros.images.results import ResultFolder
from enet_ros.images.sources import open_frames

LABELS = np.zeros((4, 6), np.uint8)
IMAGE = np.full((4, 6, 3), 100, np.uint8)


def write(out: Path, sources: Sequence[FrameSource], *, clear: bool = False, writer: str = 'enet segment') -> None:
    """Write results for every frame of `sources`."""
    results = ResultFolder(out, writer)
    results.prepare(sources, clear=clear)
    try:
        for source in sources:
            for frame in source:
                results.add(frame)
                results.write_labels(frame.name, LABELS)
                results.write_overlay(frame.name, IMAGE)
    finally:
        results.write_index()


def folder(path: Path, *names: str) -> FrameSource:
    for name in names:
        write_image(path / name, IMAGE)
    return open_frames(path)


def labels(out: Path) -> list[str]:
    return sorted(path.stem for path in (out / 'labels').iterdir())


def index(out: Path) -> list[dict[str, str]]:
    with (out / 'index.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def contents(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}


def test_the_index_lists_source_topic_and_stamp_of_all_labels(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    write(out, [folder(tmp_path / 'in', 'a.png', 'b, c.jpg')])
    bag = write_bag(tmp_path / 'drive', {'/left': 'Image', '/right': 'Image'}, 1)
    write(out, [open_frames(bag, '/right')])
    assert index(out) == [
        {'labels': 'labels/a.png', 'source': str(tmp_path / 'in' / 'a.png'), 'topic': '', 'sec': '', 'nanosec': ''},
        {'labels': 'labels/b, c.png', 'source': str(tmp_path / 'in' / 'b, c.jpg'), 'topic': '', 'sec': '', 'nanosec': ''},
        {'labels': 'labels/drive_1_000000500.png', 'source': str(bag), 'topic': '/right', 'sec': '1', 'nanosec': '500'},
    ]


def test_results_of_the_same_sources_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    sources = [folder(tmp_path / 'in', 'a.png'), open_frames(write_video(tmp_path / 'film.avi', 3))]
    write(out, sources)
    before = contents(out)
    write(out, sources)
    assert contents(out) == before


def test_a_shorter_recording_leaves_no_labels_of_the_longer_one_before_it(tmp_path: Path) -> None:
    out, video = tmp_path / 'out', tmp_path / 'film.avi'
    write(out, [open_frames(write_video(video, 3))])
    write(out, [open_frames(write_video(video, 2))])
    assert labels(out) == ['film_000000', 'film_000001']
    assert len(list((out / 'overlays').iterdir())) == len(index(out)) == 2


def test_a_second_topic_of_a_bag_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out, bag = tmp_path / 'out', write_bag(tmp_path / 'drive', {'/left': 'Image', '/right': 'Image'}, 2)
    write(out, [open_frames(bag, '/left')])
    before = contents(out)
    with pytest.raises(EnetError, match=rf'topic /right of {bag} and topic /left of {bag} .*--out'):
        write(out, [open_frames(bag, '/right')])
    assert contents(out) == before


@pytest.mark.parametrize(('first', 'second'), [
    (lambda root: folder(root / 'a', 'x.png'), lambda root: folder(root / 'b', 'x.jpg')),
    (lambda root: open_frames(write_video(root / 'a' / 'x.avi', 2)),
     lambda root: open_frames(write_video(root / 'x.avi', 2))),
    (lambda root: open_frames(write_bag(root / 'a' / 'x', {'/i': 'Image'}, 2)),
     lambda root: open_frames(write_bag(root / 'x', {'/i': 'Image'}, 2))),
    (lambda root: open_frames(write_video(root / 'x.avi', 2)), lambda root: folder(root / 'b', 'x_000001.png')),
    (lambda root: folder(root / 'b', 'x_000001.png'), lambda root: open_frames(write_video(root / 'x.avi', 2))),
], ids=['files', 'videos', 'bags', 'video and file', 'file and video'])
def test_two_sources_with_the_same_names_are_refused_in_one_run_and_in_two(
    first: object, second: object, tmp_path: Path
) -> None:
    (tmp_path / 'a').mkdir()
    one, other = first(tmp_path), second(tmp_path)
    for path, run in ((tmp_path / 'one', lambda out: write(out, [one, other])),
                      (tmp_path / 'two', lambda out: write(out, [other]))):
        if path.name == 'two':
            write(path, [one])
        before = contents(path)
        with pytest.raises(EnetError, match=r'can have frames of the same name: .*--out') as caught:
            run(path)
        assert str(one.path) in str(caught.value) and str(other.path) in str(caught.value)
        assert contents(path) == before


def test_two_images_of_one_folder_with_the_same_stem_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'x\.png and .*x\.jpg can have frames of the same name'):
        write(tmp_path / 'out', [folder(tmp_path / 'in', 'x.jpg', 'x.png')])
    assert not (tmp_path / 'out').exists()


def test_a_frame_is_refused_if_its_name_is_taken_only_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / 'out', [folder(tmp_path / 'in', 'a.png')])
    other = folder(tmp_path / 'other', 'b.png')
    results = ResultFolder(tmp_path / 'out', 'enet segment')
    results.prepare([other])
    (frame,) = folder(tmp_path / 'third', 'a.png')
    with pytest.raises(EnetError, match='can have frames of the same name'):
        results.add(frame)


def test_corrected_labels_and_files_of_the_user_are_never_replaced(tmp_path: Path) -> None:
    out, source = tmp_path / 'out', folder(tmp_path / 'in', 'a.png', 'b.png')
    write(out, [source])
    for path in (out / 'labels' / 'b.png', out / 'labels' / 'mine.png', out / 'overlays' / 'a.jpg', out / 'index.csv'):
        old = path.read_bytes() if path.exists() else None
        path.write_bytes(b'corrected')
        before = contents(out)
        for clear in (False, True):
            with pytest.raises(EnetError, match=f'{path} was not written by "enet segment", or changed since: .*--out'):
                write(out, [source], clear=clear)
        assert contents(out) == before
        if old is None:
            path.unlink()
        else:
            path.write_bytes(old)
    write(out, [source])


def test_a_corrected_file_is_known_by_its_content_and_not_by_its_date(tmp_path: Path) -> None:
    out, source = tmp_path / 'out', folder(tmp_path / 'in', 'a.png')
    write(out, [source])
    path = out / 'labels' / 'a.png'
    times = path.stat()
    write_image(path, LABELS + 1)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(EnetError, match='changed since'):
        write(out, [source])


def test_results_of_another_command_are_not_replaced(tmp_path: Path) -> None:
    out, source = tmp_path / 'out', folder(tmp_path / 'in', 'a.png')
    write(out, [source])
    with pytest.raises(EnetError, match=r'was not written by "scripts/demo\.sh"'):
        write(out, [source], clear=True, writer='scripts/demo.sh')


def test_clearing_removes_the_results_of_all_earlier_runs(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    write(out, [folder(tmp_path / 'in', 'a.png')])
    write(out, [folder(tmp_path / 'other', 'b.png')], clear=True)
    assert labels(out) == ['b'] and len(index(out)) == 1


def test_inputs_among_the_results_are_refused(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    write(out, [folder(tmp_path / 'in', 'a.png')])
    for path in (out / 'overlays', out / 'labels' / 'a.png'):
        with pytest.raises(EnetError, match=f'{path} is where results are written'):
            write(out, [open_frames(path)], clear=True)


@pytest.mark.parametrize('stop', ['interrupt', 'kill'])
def test_a_run_that_is_stopped_at_any_line_can_be_repeated(stop: str, tmp_path: Path) -> None:
    source = folder(tmp_path / 'in', 'a.png')
    write(tmp_path / 'whole', [source])
    expected = {path.relative_to(tmp_path / 'whole'): data for path, data in contents(tmp_path / 'whole').items()}
    lines = 1
    while not stopped_write(tmp_path / 'out', [source], lines, stop):
        write(tmp_path / 'out', [source])
        found = {path.relative_to(tmp_path / 'out'): data for path, data in contents(tmp_path / 'out').items()}
        assert found == expected, f'stopped before line {lines}'
        if lines % 2:  # the first run is stopped, too, not only one that replaces results
            shutil.rmtree(tmp_path / 'out')
        lines += 1
    assert lines > 100


def stopped_write(out: Path, sources: Sequence[FrameSource], lines: int, stop: str) -> bool:
    """Run `write` in another process that is stopped at its line number `lines`. Return whether it has fewer lines."""
    left = lines

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal left
        if Path(frame.f_code.co_filename).name not in ('results.py', 'files.py'):
            return None
        if event == 'line':
            left -= 1
            if left == 0 and stop == 'kill':
                os._exit(1)
            if left == 0:
                raise KeyboardInterrupt
        return trace

    if not (child := os.fork()):
        sys.settrace(trace)
        try:
            write(out, sources)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_a_full_disk_is_named_and_the_run_can_be_repeated(tmp_path: Path) -> None:
    out, source = tmp_path / 'out', folder(tmp_path / 'in', *(f'{number}.png' for number in range(9)))
    write(out, [source])
    size = (out / '.enet_segment.jsonl').stat().st_size
    for limit in range(1000, size - 200, 97):
        results = ResultFolder(out, 'enet segment')
        results.prepare([source])
        with pytest.raises(EnetError, match=r'cannot write .*out/.*: File too large'), file_size_limit(limit):
            for frame in source:
                results.add(frame)
                results.write_labels(frame.name, LABELS)
                results.write_overlay(frame.name, IMAGE)
        results.write_index()  # there is room again: a temporary file was removed
        write(out, [source])
        assert len(index(out)) == 9


def test_a_name_that_is_too_long_for_a_file_is_refused_before_anything_of_it_is_written(tmp_path: Path) -> None:
    out, video = tmp_path / 'out', write_video(tmp_path / f'{"x" * 245}.avi', 2)
    write(out, [folder(tmp_path / 'in', f'{"y" * 251}.png')])  # the longest name that Linux has
    with pytest.raises(ImageFileError, match=r'x\.avi: .*256 bytes.*rename'):
        write(out, [open_frames(video)])
    assert [len(name) for name in labels(out)] == [251]


def test_a_damaged_record_is_not_an_error(tmp_path: Path) -> None:
    out, source = tmp_path / 'out', folder(tmp_path / 'in', 'a.png')
    out.mkdir()
    (out / '.enet_segment.jsonl').write_bytes(b'[' * 100_000 + b'\n{"origin": 1}\n\xff\n')
    write(out, [source])
    assert labels(out) == ['a']


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = b'caf\xe9.png'.decode('utf-8', 'surrogateescape')
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / name).write_bytes((write_image(tmp_path / 'x.png', IMAGE), (tmp_path / 'x.png').read_bytes())[1])
    for _ in range(2):
        write(tmp_path / 'out', [open_frames(tmp_path / 'in')])
    assert b'labels/caf\xe9.png,' in (tmp_path / 'out' / 'index.csv').read_bytes()
