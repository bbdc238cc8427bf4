from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from enet_ros.errors import EnetError
from enet_ros.files import replacing, write_image


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


def test_an_image_survives_writing(tmp_path: Path) -> None:
    import cv2

    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_image(tmp_path / 'x.png', image)
    assert (cv2.imread(str(tmp_path / 'x.png')) == image).all()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
