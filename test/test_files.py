from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from resource_limits import file_size_limit

from enet_ros.errors import EnetError
from enet_ros.files import check_writable, read_bytes, remove_temporaries, replacing, write_bytes, write_json


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'report.json'
    path.write_text('old')
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_the_file_and_creates_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / 'a' / 'b' / 'report.json'
    with replacing(path) as temporary:
        temporary.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(EnetError, match=r'cannot write .*file/x.bin'):
        write_bytes(tmp_path / 'file' / 'x.bin', b'')


def test_check_writable_leaves_no_trace_and_names_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('old')
    check_writable(tmp_path / 'new' / 'x.json')
    check_writable(tmp_path / 'file')
    assert list((tmp_path / 'new').iterdir()) == [] and (tmp_path / 'file').read_text() == 'old'
    with pytest.raises(EnetError, match=r'cannot write .*file/x\.json'):
        check_writable(tmp_path / 'file' / 'x.json')
    with pytest.raises(EnetError, match='new: it is a folder'):
        check_writable(tmp_path / 'new')


@pytest.mark.parametrize('missing', [1, 200, 5000])
def test_a_full_disk_leaves_no_incomplete_file(missing: int, tmp_path: Path) -> None:
    with file_size_limit(10_000 - missing), pytest.raises(EnetError, match=r'cannot write .*x.bin: File too large'):
        write_bytes(tmp_path / 'x.bin', bytes(10_000))
    assert not list(tmp_path.iterdir())


def test_a_durable_file_reaches_the_disk_before_its_name_and_its_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / 'x.bin', []

    def fsync(handle: int) -> None:
        flushed.append((os.readlink(f'/proc/self/fd/{handle}'), path.read_text()))

    monkeypatch.setattr(os, 'fsync', fsync)
    path.write_text('old')
    with replacing(path, durable=True) as temporary:
        temporary.write_text('new')
    assert flushed == [(str(temporary), 'old'), (str(tmp_path), 'new')]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ('x' * 251 + '.png')
    write_bytes(path, b'')
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / '.mine.png').write_text('')
    if not (child := os.fork()):
        with replacing(tmp_path / 'x.png'):
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['.mine.png']


def test_only_regular_files_of_a_limited_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'x').write_bytes(b'12345')
    assert read_bytes(tmp_path / 'x', 5) == b'12345'
    for name, reason in (('pipe', 'not a regular file'), ('/dev/zero', 'not a regular file'),
                         ('.', 'Is a directory'), ('x', '5 bytes, more than 4'), ('x\0', 'null'), ('none', 'No such file')):
        with pytest.raises(OSError, match=reason):
            read_bytes(tmp_path / name, 4)


def test_a_symbolic_link_keeps_the_mode_of_its_target(tmp_path: Path) -> None:
    (tmp_path / 'original').write_text('')
    (tmp_path / 'original').chmod(0o400)
    with replacing(tmp_path / 'link') as temporary:
        temporary.unlink()
        temporary.symlink_to(tmp_path / 'original')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'original').stat().st_mode & 0o777 == 0o400


def test_json_is_written_for_people_and_machines(tmp_path: Path) -> None:
    write_json(tmp_path / 'x.json', {'frames': [1, 2], 'mean_iou': None})
    text = (tmp_path / 'x.json').read_text()
    assert json.loads(text) == {'frames': [1, 2], 'mean_iou': None} and text.endswith('\n') and text.count('\n') > 2


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
