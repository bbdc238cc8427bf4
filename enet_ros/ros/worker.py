"""The thread that owns the segmenter: it segments the newest image of each camera in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import rclpy
from sensor_msgs.msg import CompressedImage

from enet_ros.errors import EnetError, one_line
from enet_ros.images.channels import to_rgb
from enet_ros.images.messages import ImageReader
from enet_ros.ros.camera import Arrival, Camera, Picture
from enet_ros.ros.confidence import ConfidenceSwitch
from enet_ros.ros.messages import nanoseconds
from enet_ros.ros.settings import Settings
from enet_ros.segmenter import Segmenter


class Worker:
    """Keeps the newest image of each camera and segments them, the longest served first.

    An image that is replaced by a newer one before its turn is counted as overwritten. No image is queued, so that the age of
    an image is bounded by the time for one round over the cameras.
    """

    def __init__(self, segmenter: Segmenter, reader: ImageReader, settings: Settings) -> None:
        """Prepare to segment with `segmenter`. `start` starts the thread."""
        self.settings = settings
        self._segmenter, self._reader = segmenter, reader
        self._confidence = ConfidenceSwitch(segmenter)
        self._cameras: Sequence[Camera] = ()
        self._applied: Settings | None = None
        self._waiting: dict[Camera, Arrival] = {}  # at most one image a camera, the camera served longest ago first
        self._arrived = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Return whether the thread was started and not stopped."""
        return self._thread is not None

    def start(self, cameras: Sequence[Camera]) -> None:
        """Start the thread, which serves `cameras`."""
        self._cameras = cameras
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='segment', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread finish its images, wait for it, and drop the images that still wait."""
        if self._thread is None:
            return
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join()
        self._thread = None
        self._confidence.wait()
        for arrival in self._waiting.values():
            arrival.camera.statistics.count_skipped()
        self._waiting.clear()

    def offer(self, arrival: Arrival) -> None:
        """Keep an image for its turn in place of an older one of its camera."""
        with self._arrived:
            if arrival.camera in self._waiting:
                arrival.camera.statistics.count_overwritten()
            self._waiting[arrival.camera] = arrival  # a replaced image keeps the place of its camera in the order
            self._arrived.notify()

    def _run(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._stopping or self._waiting)
                if self._stopping:
                    return
                cameras = list(self._waiting)[: self._segmenter.engine.spec.batch]
                arrivals = [self._waiting.pop(camera) for camera in cameras]
            self._segment(arrivals)
            self._confidence.follow(any(camera.is_wanted('confidence') for camera in self._cameras))

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
                self._refuse(picture.arrival, error)
            return
        segmented = time.monotonic()
        for picture, segmentation in zip(pictures, segmentations):
            arrival = picture.arrival
            try:
                arrival.camera.publish(picture, segmentation, settings)
            except Exception as error:
                self._refuse(arrival, error)
                continue
            published = time.monotonic()
            arrival.camera.statistics.count_segmented({
                'wait': started - arrival.seconds, 'read': read - started, 'network': segmented - read,
                'publish': published - segmented, 'total': published - arrival.seconds,
            })

    def _read(self, arrival: Arrival) -> Picture | None:
        try:
            message = arrival.message
            read = self._reader.read_compressed if isinstance(message, CompressedImage) else self._reader.read
            picture = Picture(arrival, *read(message))
            arrival.camera.health.update(picture.pixels, nanoseconds(message.header.stamp))
            return picture
        except Exception as error:
            self._refuse(arrival, error)
            return None

    def _refuse(self, arrival: Arrival, error: Exception) -> None:
        if not rclpy.ok():  # it failed because the node is shutting down
            return
        text = str(error) if isinstance(error, EnetError) else f'{type(error).__name__}: {one_line(error)}'
        arrival.camera.refuse(text)
