"""The images that int8 is calibrated with, and the quantised graph that comes of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from shlex import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.cache import cache_folder
from enet_ros.engines.engine import CalibrationError
from enet_ros.engines.quantization import check_packages, quantize_graph
from enet_ros.files import replacing
from enet_ros.frames import open_frames
from enet_ros.network.model_file import ModelFile
from enet_ros.resize import fit

log = logging.getLogger(__name__)

QUANTIZED_VERSION = '1'
"""Raised whenever the same weights and images come to another graph."""

FEW_IMAGES = 20
MAXIMUM_IMAGES = 300
"""More images hardly change the ranges that are measured, and take longer."""


def read_calibration(path: Path, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return images (H x W x 3, uint8, RGB) of `size` (width, height), spread evenly over what `path` holds.

    `path` is a folder of images, a video or a bag, a split of a prepared dataset, or such a dataset, whose training split it
    then takes.

    Raises:
        EnetError: there are no images, or one cannot be read.

    """
    folders = (path / 'train' / 'images', path / 'images')
    frames = open_frames(next(filter(Path.is_dir, folders), path))
    step = max(1, -(-frames.count // MAXIMUM_IMAGES))
    # a video may hold more frames than it says
    chosen = islice((frame for number, frame in enumerate(frames) if number % step == 0), MAXIMUM_IMAGES)
    return [cv2.cvtColor(fit(frame.decode(), size), cv2.COLOR_BGR2RGB) for frame in chosen]


def quantized_path(model: ModelFile, size: tuple[int, int], backend: str) -> Path:
    """Return where the int8 ONNX graph of `model` for images of `size` on `backend` is cached."""
    return cache_folder() / f'{model.sha256[:16]}-{size[0]}x{size[1]}-{backend}-int8-v{QUANTIZED_VERSION}.onnx'


def quantized_graph(model: ModelFile, size: tuple[int, int], backend: str, calibration: Path | None,
                    make_graph: Callable[[], bytes]) -> Path:
    """Return the int8 ONNX graph of `model` for images of `size` on `backend`: made with `calibration`, or from the cache.

    `make_graph` returns the ONNX graph in float32, to be quantised.

    Raises:
        EnetError: there is neither, or it cannot be made.

    """
    path = quantized_path(model, size, backend)
    if calibration is None:
        if path.is_file():
            return path
        raise CalibrationError(
            f'precision int8 needs calibration images: enet build-engine --model {quote(str(model.path))} '
            f'--size {size[0]}x{size[1]} --precision int8 --backend {backend} --calibration FOLDER'
        )
    check_packages()  # before the images are read
    images = read_calibration(calibration, size)
    log.info('quantising with %d images of %s', len(images), calibration)
    if len(images) < FEW_IMAGES:
        log.warning('these are few, and all that runs in int8 at this size will use them: better give %d', FEW_IMAGES)
    quantized = quantize_graph(make_graph(), images, zero_points=backend == 'openvino')
    with replacing(path) as temporary:
        temporary.write_bytes(quantized)
    log.info('cached in %s', path)
    return path
