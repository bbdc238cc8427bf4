from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from enet_ros.datasets.journal import Journal, is_journal
from enet_ros.errors import EnetError

IDENTITY = ['yard', ['ground', 'box'], '']
STAMP = [120, 7, 80, 9]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal with two images."""
    path = tmp_path / 'out' / 'journal.jsonl'
    with Journal(path, IDENTITY) as journal:
        journal.add('train', 'a', STAMP, [5, 1])
        journal.add('val', 'b', STAMP, [4, 2])
    return path


def found(path: Path, identity: list[object] = IDENTITY) -> list[list[int] | None]:
    with Journal(path, identity) as journal:
        return [journal.find('train', 'a', STAMP), journal.find('val', 'b', STAMP)]


def test_images_are_remembered_until_the_conversion_is_finished(path: Path) -> None:
    assert found(path) == [[5, 1], [4, 2]]
    assert found(path) == [[5, 1], [4, 2]]  # also after it was opened again
    with Journal(path, IDENTITY) as journal:
        assert journal.find('val', 'a', STAMP) is None
        journal.remove()
    assert not path.exists()


def test_each_image_is_on_disk_at_once(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        journal.add('train', 'c', STAMP, [3, 3])
        assert len(path.read_text().splitlines()) == 4


def test_a_journal_is_on_disk_before_images_are_added(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(os, 'fsync', lambda handle: flushed.append(os.readlink(f'/proc/self/fd/{handle}')))
    with Journal(path, IDENTITY):
        assert flushed[-1] == str(path.parent)


def test_an_image_with_changed_files_is_not_found(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        assert journal.find('train', 'a', [121, *STAMP[1:]]) is None


def test_entries_from_before_the_computer_started_are_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / 'boot_id').write_text('another')
    monkeypatch.setattr('enet_ros.datasets.journal._BOOT_ID', path.parent / 'boot_id')
    assert found(path) == [None, None]


def test_a_journal_of_other_settings_is_dropped(path: Path) -> None:
    assert found(path, [*IDENTITY[:2], 'rest: box']) == [None, None]
    assert found(path) == [None, None]


def test_a_line_that_is_cut_off_is_dropped(path: Path) -> None:
    path.write_text(path.read_text()[:-10])
    assert found(path) == [[5, 1], None]
    with Journal(path, IDENTITY) as journal:
        journal.add('val', 'b', STAMP, [6, 0])
    assert found(path) == [[5, 1], [6, 0]]


@pytest.mark.parametrize('line', [
    '[' * 5000, '[["train"], "b", [], []]', '["val", "b", [120, 7, 80, 9], null]', '["val", "b", [120, 7, 80, 9], [1e999]]',
], ids=['nested', 'split', 'counts', 'infinite'])
def test_a_line_that_is_damaged_is_dropped(line: str, path: Path) -> None:
    path.write_text('\n'.join([*path.read_text().splitlines()[:-1], line]))
    assert found(path) == [[5, 1], None]


def test_a_journal_of_an_earlier_version_is_dropped(path: Path) -> None:
    figures = {'counts': [5, 1], 'mean': [0.1, 0.2, 0.3], 'squares': [0.1, 0.2, 0.3]}
    path.write_text('\n'.join(map(json.dumps, (IDENTITY, ['train', 'a', STAMP, figures]))) + '\n')
    assert found(path) == [None, None]


@pytest.mark.parametrize('content', [b'', b'\xff\xfe', b'{', b'{}\n', b'[' * 5000],
                         ids=['empty', 'binary', 'half a line', 'other JSON', 'nested'])
def test_a_file_that_is_not_a_journal_is_replaced(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert found(path) == [None, None]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'out').write_text('not a folder')
    with pytest.raises(EnetError, match=r'cannot write .*out/journal.jsonl'):
        Journal(tmp_path / 'out' / 'journal.jsonl', IDENTITY)


def test_a_journal_is_told_from_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    assert not is_journal(path)
    identity = ['yard', ['ground'], [[1, 2, 3]], '', False]
    for text in ('', 'x', '{}', '[]', '[1, 2, 3, 4]', '"abcdef"', '[["a"], ["b"], "", 1]', '[["a"], ["b"], ""]', '\udcff',
                 '[' * 100_000):
        path.write_text(text, errors='surrogateescape')
        assert not is_journal(path), text
    path.unlink()
    os.mkfifo(path)  # reading would block
    assert not is_journal(path)
    path.unlink()
    path.write_text(json.dumps(identity))  # an earlier format
    assert is_journal(path)
    with Journal(path, identity):
        assert is_journal(path)
