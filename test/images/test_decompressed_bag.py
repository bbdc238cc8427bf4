"""Bags whose files are compressed."""

from __future__ import annotations

import tempfile
from itertools import chain
from pathlib import Path

import pytest
from resource_limits import file_size_limit
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import frame, write_entries

from enet_ros.errors import EnetError
from enet_ros.images.bags import open_bag


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for temporary files."""
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    return folder


@pytest.fixture(params=list(StoragePlugin), ids=lambda storage: storage.name)
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    entries = chain(*(frame(number) for number in range(4)))
    return write_entries(tmp_path / 'drive', entries, request.param, CompressionMode.FILE)


def test_the_files_are_decompressed_once_and_removed_with_the_bag(drive: Path, temporary: Path) -> None:
    bag = open_bag(drive)
    for file in drive.glob('*.zstd'):
        file.unlink()
    for _ in range(2):
        assert sum(recorded.message.width == 48 for recorded in bag.messages(['/image', '/labels'])) == 8
    assert bag.seconds('/image') == pytest.approx(0.6) and len(bag.first(['/image'])['/image']) == 1
    assert len(list(temporary.iterdir())) == 1
    del bag
    assert not list(temporary.iterdir())


def test_nothing_is_left_of_a_bag_that_cannot_be_read(drive: Path, temporary: Path) -> None:
    (file,) = drive.glob('*.zstd')
    for content in (file.read_bytes()[:2000], b'not zstd'):
        file.write_bytes(content)
        with pytest.raises(EnetError, match=rf'^cannot (read|decompress) bag {drive}: .'):
            open_bag(drive)
        assert not list(temporary.iterdir())


def test_an_index_with_nested_lists_is_read_or_refused(drive: Path, temporary: Path) -> None:
    index = drive / 'metadata.yaml'
    text, refused = index.read_text(), 0
    for depth in (280, 320, 360, 900):  # PyYAML writes fewer levels than it reads
        index.write_text(f'{text}  more: {"[" * depth}{"]" * depth}\n')
        try:
            open_bag(drive)
        except EnetError as error:
            assert str(error).startswith(f'cannot read bag {drive}: ')
            refused += 1
        assert not list(temporary.iterdir())
    assert refused


def test_a_full_disk_names_the_folder_of_temporary_files(drive: Path, temporary: Path) -> None:
    with file_size_limit(5_000), pytest.raises(EnetError) as raised:
        open_bag(drive)
    assert str(raised.value).startswith(f'cannot decompress bag {drive} into {temporary}: ')
    assert str(raised.value).endswith(': free space there, or set TMPDIR to another folder')
    assert '\n' not in str(raised.value) and not list(temporary.iterdir())
