from __future__ import annotations

import multiprocessing
import threading

import cv2
import numpy as np
import pytest

from enet_ros.errors import ImageError
from enet_ros.images.decoding import decode
from enet_ros.images.synthetic import draw_scene

IMAGE = draw_scene(3, 96, 64)[0]
JPEG = cv2.imencode('.jpg', IMAGE)[1].tobytes()
HALF = JPEG[:len(JPEG) // 2] + b'\xff\xd9'


def _decode() -> np.ndarray:
    return decode(JPEG, cv2.IMREAD_COLOR)


def test_libraries_write_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    png = b'\x89PNG\r\n\x1a\n' + bytes(60)
    for damaged, reason in ((HALF, 'premature end of data segment'), (png, 'cannot be decoded')):
        with pytest.raises(ImageError, match=reason):
            decode(damaged, cv2.IMREAD_COLOR)
    harmless = JPEG[:-2] + bytes(100) + JPEG[-2:]  # libjpeg: extraneous bytes before marker
    assert (decode(harmless, cv2.IMREAD_COLOR) == _decode()).all()
    assert capfd.readouterr() == ('', '')
    cv2.imdecode(np.frombuffer(HALF, np.uint8), cv2.IMREAD_COLOR)
    assert 'premature end' in capfd.readouterr().err  # the process keeps its own stderr


def test_threads_and_forked_processes_decode_alike() -> None:
    expected = _decode()
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(_decode())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with multiprocessing.get_context('fork').Pool(1) as pool:
        found.append(pool.apply_async(_decode).get(30))
    assert len(found) == 5 and all((image == expected).all() for image in found)


def test_each_thread_learns_what_is_wrong_with_its_own_image() -> None:
    outcomes: dict[bytes, set[bool]] = {JPEG: set(), HALF: set()}

    def run(data: bytes) -> None:
        for _ in range(300):
            try:
                decode(data, cv2.IMREAD_COLOR)
                outcomes[data].add(True)
            except ImageError:
                outcomes[data].add(False)

    threads = [threading.Thread(target=run, args=(data,)) for data in outcomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {JPEG: {True}, HALF: {False}}
