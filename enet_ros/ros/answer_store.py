"""Keep the answers of a node on the disk until the replay has ended: metrics would slow the node down."""

from __future__ import annotations

import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, one_line
from enet_ros.images.decoding import decode
from enet_ros.images.files import encode_image
from enet_ros.ros.client import Answer

_Span = tuple[int, int]


class AnswerStore:
    """Writes answers to a temporary file on a thread of its own. Leaving the context removes it."""

    def __init__(self) -> None:
        """Create the file in the system's folder for temporary files."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._writer = ThreadPoolExecutor(1, 'answers')
        self._jobs: list[Future[None]] = []
        self._spans: dict[int, tuple[_Span, _Span | None]] = {}
        self.latencies: dict[int, float] = {}
        """Seconds, by the number of the image."""
        self.last = 0.0
        """When the last labels arrived, on the monotonic clock, in seconds."""

    def __enter__(self) -> AnswerStore:
        """Return self."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the file."""
        self._writer.shutdown()
        self._file.close()

    def add(self, answer: Answer) -> None:
        """Keep an answer. It returns before that is done."""
        self.latencies[answer.index] = answer.latency
        self.last = max(self.last, answer.sent + answer.latency)
        self._jobs.append(self._writer.submit(self._write, answer))

    def finish(self) -> None:
        """Wait until all answers are kept.

        Raises:
            EnetError: the file cannot be written.

        """
        try:
            for job in self._jobs:
                job.result()
            self._file.flush()
        except OSError as error:
            raise EnetError(f'cannot write to {tempfile.gettempdir()}: {one_line(error)}; '
                            'set TMPDIR to a folder with more space') from error

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Return labels and confidence of the image with this number, which has been answered: H x W, uint8."""
        labels, confidence = self._spans[index]
        return self._read(labels), None if confidence is None else self._read(confidence)

    def _write(self, answer: Answer) -> None:
        assert answer.labels is not None
        confidence = None if answer.confidence is None else self._append(answer.confidence)
        self._spans[answer.index] = self._append(answer.labels), confidence

    def _append(self, pixels: NDArray[np.uint8]) -> _Span:
        data = encode_image('.png', pixels)
        start = self._file.tell()
        self._file.write(data)
        return start, len(data)

    def _read(self, span: _Span) -> NDArray[np.uint8]:
        self._file.seek(span[0])
        return decode(self._file.read(span[1]), cv2.IMREAD_GRAYSCALE).astype(np.uint8, copy=False)
