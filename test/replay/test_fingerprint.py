"""Digests of bags."""

from __future__ import annotations

import hashlib
from pathlib import Path

from enet_ros.replay.fingerprint import find_equal, fingerprint


def test_a_file_has_the_usual_digest(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / 'drive.mcap').write_bytes(data)
    assert fingerprint(tmp_path / 'drive.mcap') == hashlib.sha256(data).hexdigest()


def test_a_folder_is_told_by_names_and_contents_but_not_by_its_place(tmp_path: Path) -> None:
    found = set()
    for place, name, data in (('a', 'x.db3', b'1'), ('b', 'x.db3', b'1'), ('c', 'y.db3', b'1'), ('d', 'x.db3', b'2')):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_bytes(data)
        (tmp_path / place / 'metadata.yaml').write_text('rosbag2_bagfile_information: {}')
        found.add(fingerprint(tmp_path / place))
    assert len(found) == 3


def test_files_that_are_not_part_of_a_bag_do_not_count(tmp_path: Path) -> None:
    for name in ('metadata.yaml', 'drive_0.mcap', 'drive_1.mcap.zstd'):
        (tmp_path / name).write_text(name)
    before = fingerprint(tmp_path)
    for name in ('report.json', 'drive.db3-wal'):
        (tmp_path / name).write_text(name)
    (tmp_path / 'report').mkdir()
    assert fingerprint(tmp_path) == before
    (tmp_path / 'drive_1.mcap.zstd').write_text('changed')
    assert fingerprint(tmp_path) != before


def test_equal_bags_are_found_among_others_of_the_same_size(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ('a.mcap', 'b.mcap', 'c.mcap', 'missing.mcap', 'folder')]
    for path, content in zip(paths, ('1', '2', '1')):
        path.write_text(content)
    paths[4].mkdir()
    assert find_equal(paths) == paths[2]
    paths[2].write_text('3')
    assert find_equal(paths) is None
