"""Decompress the files of a bag once. rosbags would do it each time it opens the bag."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import yaml
import zstandard

from enet_ros.errors import EnetError, one_line
from enet_ros.images.bag_compression import MOST_BYTES
from enet_ros.parsing import read_yaml

_INDEX = 'metadata.yaml'
_INFORMATION = 'rosbag2_bagfile_information'
_BLOCK = 1 << 20
_MOST_TIMES = 200
"""How many times as large a file may become, beside one largest message."""


def decompressed(path: Path) -> Path | None:
    """Return a temporary folder with the bag of `path` without compression; None if its files are not compressed.

    The caller removes the folder.

    Raises:
        EnetError: the folder cannot be written, or a file is damaged or expands to too much.
        OSError: the index of the bag cannot be read.
        ValueError: it is damaged.

    """
    if not path.is_dir():
        return None
    index, files = read_yaml(path / _INDEX), []
    bag = index.get(_INFORMATION) if isinstance(index, dict) else None
    if not isinstance(bag, dict):  # rosbags takes more for a mapping, for example !!omap
        raise ValueError(f'{_INDEX} has no mapping {_INFORMATION}')
    if (str(bag.get('compression_mode')).lower(), bag.get('compression_format')) != ('file', 'zstd'):
        return None
    with suppress(TypeError):
        files = [path / Path(name).name for name in bag.get('relative_file_paths', ())]
    if not files or not all(file.is_file() for file in files):
        raise ValueError(f'files of relative_file_paths in {_INDEX} are missing')
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix='enet_bag_'))
        for file in files:
            _decompress(file, folder / file.stem)
        bag.update(compression_mode='', compression_format='', relative_file_paths=[file.stem for file in files])
        (folder / _INDEX).write_text(yaml.safe_dump(index))
    except BaseException as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise EnetError(f'cannot decompress bag {path} into {tempfile.gettempdir()}: {one_line(error)}: '
                            'free space there, or set TMPDIR to another folder') from error
        if isinstance(error, (ValueError, zstandard.ZstdError)):
            raise EnetError(f'cannot decompress bag {path}: {one_line(error)}') from error
        raise
    return folder


def _decompress(source: Path, target: Path) -> None:
    left = MOST_BYTES + _MOST_TIMES * source.stat().st_size
    with source.open('rb') as compressed, target.open('wb') as file:
        content = zstandard.ZstdDecompressor().stream_reader(compressed, read_across_frames=True)
        while block := content.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise ValueError(f'{source.name} expands to more than {_MOST_TIMES} times its size: if that is right, '
                                 f'decompress it with: zstd -d {source}')
            file.write(block)
