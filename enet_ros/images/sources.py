"""Images from wherever a user has them: files, folders, videos and bags."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from enet_ros.errors import EnetError
from enet_ros.images.bag_frames import BagImages
from enet_ros.images.files import IMAGE_SUFFIXES, image_files, read_image
from enet_ros.images.frames import Frame, FrameSource
from enet_ros.images.video import Video

log = logging.getLogger(__name__)

OTHER_SUFFIXES = ('.bmp', '.jp2', '.pgm', '.ppm', '.tif', '.tiff', '.webp')
"""Image formats that are skipped in a folder."""
_BAG_SUFFIXES = ('.mcap', '.db3', '.bag')


class _Files(FrameSource):
    """An image file or a folder of them."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path = path
        self.count = len(files)
        self._files = files

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(path.stem, None, path, partial(read_image, path)) for path in self._files)

    def files(self) -> Sequence[Path]:
        return self._files


def open_frames(path: Path, topic: str = '') -> FrameSource:
    """Open an image, a folder of images, a video, or a bag (its only image topic, or `topic`).

    Raises:
        EnetError: the input is missing or cannot be read, or the topic is wrong.

    """
    if not path.exists():
        raise EnetError(f'no such input: {path}')
    if path.suffix.lower() in _BAG_SUFFIXES or (path / 'metadata.yaml').is_file():
        try:  # not at the top: folders and videos can be read without these packages
            from enet_ros.images.bags import open_bag
        except ImportError as error:
            raise EnetError(f'cannot read bag {path} without {error.name}: pip install rosbags mcap') from error
        return BagImages(open_bag(path).images(topic))
    if topic:
        raise EnetError(f'{path} is not a bag and has no topics: remove topic {topic}')
    if path.is_dir():
        return _open_folder(path)
    return _Files(path, [path]) if path.suffix.lower() in IMAGE_SUFFIXES else Video(path)


def _open_folder(path: Path) -> FrameSource:
    images = image_files(path)
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith('.')]
    folders = [entry for entry in entries if entry.is_dir()]
    others = [entry for entry in entries if entry.suffix.lower() in OTHER_SUFFIXES]
    if images:
        if others:
            log.warning('%d images in %s are skipped, such as %s: convert them to PNG or JPEG',
                        len(others), path, others[0].name)
        if folders:
            log.warning('%d sub-folders of %s are skipped, such as %s: pass them directly',
                        len(folders), path, folders[0].name)
        return _Files(path, images)
    if parts := [entry for entry in entries if entry.suffix.lower() in _BAG_SUFFIXES]:
        more = f' (and {len(parts) - 1} more)' if len(parts) > 1 else ''
        raise EnetError(f'{path} has no metadata.yaml: incomplete recording; pass {parts[0]}{more} directly')
    if folders:
        raise EnetError(f'no images in {path}, but {len(folders)} sub-folders: pass them directly, such as {folders[0]}')
    raise EnetError(f'no images ({", ".join(IMAGE_SUFFIXES)}) in {path}')
