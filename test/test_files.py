from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from enet_ros.errors import EnetError
from enet_ros.files import check_writable, replacing
from enet_ros.images.files import write_image


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'report.json'
    path.write_text('old')
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_the_file_and_makes_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / 'a' / 'b' / 'report.json'
    with replacing(path) as temporary:
        temporary.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(EnetError, match=r'cannot write .*file/x.png'):
        write_image(tmp_path / 'file' / 'x.png', np.zeros((2, 2), np.uint8))


def test_what_can_be_written_is_known_beforehand_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('old')
    check_writable(tmp_path / 'new' / 'x.json')
    check_writable(tmp_path / 'file')
    assert list((tmp_path / 'new').iterdir()) == [] and (tmp_path / 'file').read_text() == 'old'
    with pytest.raises(EnetError, match=r'cannot write .*file/x\.json'):
        check_writable(tmp_path / 'file' / 'x.json')
    with pytest.raises(EnetError, match='new: it is a folder'):
        check_writable(tmp_path / 'new')


def test_an_image_survives_writing(tmp_path: Path) -> None:
    import cv2

    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_image(tmp_path / 'x.png', image)
    assert (cv2.imread(str(tmp_path / 'x.png')) == image).all()


def test_an_unknown_image_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'unknown image format ".xyz"'):
        write_image(tmp_path / 'x.xyz', np.zeros((2, 2), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('missing', [1, 200, 5000])
def test_a_full_disk_leaves_no_half_image(missing: int, tmp_path: Path) -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    whole = len(cv2.imencode('.png', image)[1])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole - missing, hard))  # as near as a test comes to a full disk
        with pytest.raises(EnetError, match=r'cannot write .*x.png: File too large'):
            write_image(tmp_path / 'x.png', image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not list(tmp_path.iterdir())


def test_a_link_leaves_the_mode_of_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / 'original').write_text('')
    (tmp_path / 'original').chmod(0o400)
    with replacing(tmp_path / 'link') as temporary:
        temporary.unlink()
        temporary.symlink_to(tmp_path / 'original')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'original').stat().st_mode & 0o777 == 0o400


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
