"""Decompress the files of a bag once. rosbags would do it each time it opens the bag."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
import zstandard

from enet_ros.errors import EnetError, one_line
from enet_ros.parsing import read_yaml

_INDEX = 'metadata.yaml'
_BLOCK = 1 << 20


def decompressed(path: Path) -> Path | None:
    """Return a temporary folder with the bag of `path` without compression; None if its files are not compressed.

    The caller removes the folder.

    Raises:
        EnetError: the folder cannot be written.

    """
    index = _compressed_index(path)
    if index is None:
        return None
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix='enet_bag_'))
        bag = index['rosbag2_bagfile_information']
        files = [path / Path(name).name for name in bag['relative_file_paths']]
        for file in files:
            with file.open('rb') as source, (folder / file.stem).open('wb') as target:
                content = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
                shutil.copyfileobj(content, target, _BLOCK)
        bag.update(compression_mode='', compression_format='', relative_file_paths=[file.stem for file in files])
        (folder / _INDEX).write_text(yaml.safe_dump(index))
    except BaseException as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise EnetError(f'cannot decompress bag {path} into {tempfile.gettempdir()}: {one_line(error)}: '
                            'free space there, or set TMPDIR to another folder') from error
        if isinstance(error, zstandard.ZstdError):
            raise EnetError(f'cannot decompress bag {path}: {one_line(error)}') from error
        raise
    return folder


def _compressed_index(path: Path) -> dict[str, Any] | None:
    """Return the index of a bag whose files are compressed. None also if something is wrong with it: rosbags says what."""
    if not path.is_dir() or not any(path.glob('*.zstd')):
        return None
    try:
        index = read_yaml(path / _INDEX)
        bag = index['rosbag2_bagfile_information']
        is_compressed = (bag['compression_mode'].lower(), bag['compression_format']) == ('file', 'zstd')
        are_there = all((path / Path(name).name).is_file() for name in bag['relative_file_paths'])
    except Exception:  # not YAML, or not the fields of an index
        return None
    return index if is_compressed and are_there else None
