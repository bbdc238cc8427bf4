"""Decode PNG and JPEG data with OpenCV, and collect what libpng and libjpeg write about it.

Both libraries write to file descriptor 2, without limit, and OpenCV has no setting for it. To redirect it for the process
would lose the lines of other threads. So decoding has a thread with a table of file descriptors of its own.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageError, one_line

_STDERR = 2
_LARGEST_DESCRIPTOR = 2**32 - 1
_CLOSE_RANGE_UNSHARE = 2
_PIPE_SIZE = 65536
# libjpeg's warnings about missing or changed data; it also has harmless ones, such as extraneous bytes before the end
_DAMAGED = re.compile(r'premature end[^\n]*|bad \w+ code|found marker \w+ instead of RST\d', re.IGNORECASE)


def decode(data: bytes, flags: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode complete PNG or JPEG data with the given flags of `cv2.imdecode`. Any thread may call it.

    Raises:
        ImageError: OpenCV cannot decode the data, or libjpeg says that a part of the image is missing.

    """
    thread, complaints, lock = _decoding_thread()
    with lock:  # the complaints of another image must not come between
        try:
            image = thread.submit(cv2.imdecode, np.frombuffer(data, np.uint8), flags).result()
        except cv2.error as error:
            raise ImageError(f'cannot be decoded: {one_line(error)}') from error
        finally:
            text = _read_all(complaints)
    if image is None:
        raise ImageError('cannot be decoded: check what publishes it')
    if damage := _DAMAGED.search(text):
        raise ImageError(f'is damaged, {damage[0]}: check the camera driver and the network')
    return image


@cache
def _decoding_thread() -> tuple[ThreadPoolExecutor, int, threading.Lock]:
    """Start the thread. Return it, the file descriptor to read its stderr from, and the lock for the use of both."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):  # a full or an empty pipe must not block
        os.set_blocking(end, False)
    return ThreadPoolExecutor(1, 'decode', _redirect_stderr, (write_end,)), read_end, threading.Lock()


os.register_at_fork(after_in_child=_decoding_thread.cache_clear)  # threads are not copied to a forked process


def _redirect_stderr(write_end: int) -> None:
    """Give the calling thread its own file descriptors: stdin, stdout, and `write_end` as stderr.

    Needs Linux 5.9 and glibc 2.34; without them, the libraries write to the stderr of the process. unshare() would also run
    on older kernels, but containers forbid it.
    """
    close_range = getattr(ctypes.CDLL(None), 'close_range', None)
    last = ctypes.c_uint(_LARGEST_DESCRIPTOR)
    if close_range is None or close_range(last, last, _CLOSE_RANGE_UNSHARE):
        return
    # handlers of signals write to file descriptors that this thread does not have
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.dup2(write_end, _STDERR)
    close_range(_STDERR + 1, last, 0)  # copies would keep sockets open and files locked


def _read_all(descriptor: int) -> str:
    try:
        return os.read(descriptor, _PIPE_SIZE).decode('utf-8', 'replace')
    except BlockingIOError:  # empty
        return ''
