"""The thread that owns the segmenter: it segments the newest image of each camera in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from sensor_msgs.msg import CompressedImage

from enet_ros.errors import described
from enet_ros.images.channels import to_rgb
from enet_ros.images.messages import ImageReader
from enet_ros.ros.camera import Arrival, Camera, Picture
from enet_ros.ros.confidence import ConfidenceSwitch
from enet_ros.ros.settings import Settings
from enet_ros.segmenter import Segmenter


class Worker:
    """Segments what the cameras have, one image of each camera in turn, and lets them publish it.

    A camera is at most once in the queue, and keeps only its newest image. So cameras share the time fairly, whatever their
    rates, and no image is older than one round over the cameras.
    """

    def __init__(self, segmenter: Segmenter, reader: ImageReader, settings: Settings) -> None:
        """Prepare to segment with `segmenter`. `start` starts the thread."""
        self.settings = settings
        self._segmenter, self._reader = segmenter, reader
        self._confidence = ConfidenceSwitch(segmenter)
        self._applied: Settings | None = None
        self._cameras: Sequence[Camera] = ()
        # not a condition: it wakes the thread in half the time
        self._ready: SimpleQueue[Camera | None] = SimpleQueue()  # None = stop
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Return whether the thread was started and not stopped."""
        return self._thread is not None

    def start(self, cameras: Sequence[Camera]) -> None:
        """Start the thread, which serves `cameras`."""
        self._cameras = cameras
        self._thread = threading.Thread(target=self._run, name='segment', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread finish its images, and wait for it. Images that still wait are skipped."""
        if self._thread is None:
            return
        self._ready.put(None)
        self._thread.join()
        self._thread = None
        self._confidence.wait()
        for camera in self._cameras:
            if camera.take() is not None:
                camera.statistics.count_skipped()
        self._ready = SimpleQueue()

    def wake(self, camera: Camera) -> None:
        """Let the thread take the image of `camera` in its turn. Call it once for each image that is taken."""
        self._ready.put(camera)

    def _run(self) -> None:
        while (camera := self._ready.get()) is not None:
            cameras = [camera]
            with suppress(Empty):
                while len(cameras) < self._segmenter.engine.spec.batch:
                    if (another := self._ready.get_nowait()) is None:
                        return
                    cameras.append(another)
            self._segment([arrival for camera in cameras if (arrival := camera.take())])
            self._confidence.follow(any(camera.outputs.is_wanted('confidence') for camera in self._cameras))

    def _segment(self, arrivals: Sequence[Arrival]) -> None:
        started = time.monotonic()
        settings = self.settings
        pictures = [picture for arrival in arrivals if (picture := self._read(arrival))]
        if not pictures:
            return
        read = time.monotonic()
        try:
            if settings is not self._applied:
                self._segmenter.configure(settings.classes, settings.output_size)
                self._applied = settings
            channels = pictures[0].channels if len(pictures) == 1 else 'rgb'
            images = [p.pixels if p.channels == channels else to_rgb(p.pixels, p.channels) for p in pictures]
            segmentations = self._segmenter.segment_all(images, channels)
        except Exception as error:  # one image must not stop the node: the next one may work
            for picture in pictures:
                picture.arrival.camera.refuse(described(error))
            return
        for picture, segmentation in zip(pictures, segmentations):
            arrival, segmented = picture.arrival, time.monotonic()
            try:
                arrival.camera.publish(picture, segmentation, settings)
            except Exception as error:
                arrival.camera.refuse(described(error))
                continue
            published = time.monotonic()
            arrival.camera.statistics.count_segmented({
                'wait': started - arrival.seconds, 'read': read - started, 'network': segmented - read,
                'publish': published - segmented, 'total': published - arrival.seconds,
            })

    def _read(self, arrival: Arrival) -> Picture | None:
        message = arrival.message
        try:
            read = self._reader.read_compressed if isinstance(message, CompressedImage) else self._reader.read
            picture = Picture(arrival, *read(message))
            arrival.camera.inspect(picture)
            return picture
        except Exception as error:
            arrival.camera.refuse(described(error))
            return None
