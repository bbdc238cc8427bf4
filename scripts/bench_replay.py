"""Measure what an offline replay costs beside the engine: both on the same bag, in turns.

    python scripts/bench_replay.py val.mcap --labels-topic /ground_truth/labels --precision bf16

The engine alone segments the decoded images one after the other, with all threads of the CPU and with confidence, as the
node does. The replay also reads and decodes the bag and computes all metrics. The figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from enet_ros.engines.base import PRECISIONS, EngineSpec
from enet_ros.network.model_file import read_model
from enet_ros.replay.collector import Collector
from enet_ros.replay.job import create_segmenters
from enet_ros.replay.offline import replay_offline
from enet_ros.replay.recording import Selection, open_recording
from enet_ros.resources import default_model
from enet_ros.segmenter import Segmenter

_WARM_UP = 5


def main() -> None:
    """Print milliseconds a frame of both, and the throughput of the replay in percent of that of the engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bag', type=Path)
    parser.add_argument('--image-topic', default='')
    parser.add_argument('--labels-topic', default='')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto')
    parser.add_argument('--rounds', type=int, default=5)
    arguments = parser.parse_args()
    model = read_model(default_model())
    spec = EngineSpec('openvino', arguments.precision, confidence=True)
    alone, several = Segmenter(model, spec), create_segmenters(model, spec, 'stretch')
    selection = Selection(image_topic=arguments.image_topic, labels_topic=arguments.labels_topic)
    recording = open_recording(arguments.bag, selection, None, model.info.labels)
    images = [replayed.frame.decode() for replayed in recording]
    for segmenter in (alone, *several):
        segmenter.segment_all(images[:_WARM_UP], 'bgr')
    engine_ms, replay_ms = [], []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        for image in images:
            alone.segment(image, 'bgr')
        engine_ms.append(1000 * (time.perf_counter() - start) / len(images))
        result = replay_offline(recording, several, Collector(model.info.labels), lambda: None)
        replay_ms.append(1000 * result.timing['seconds'] / len(images))
    engine, replay = statistics.median(engine_ms), statistics.median(replay_ms)
    print(f'engine alone {engine:.1f} ms ({min(engine_ms):.1f} to {max(engine_ms):.1f}), '
          f'replay {replay:.1f} ms ({min(replay_ms):.1f} to {max(replay_ms):.1f}): {100 * engine / replay:.0f} %')


if __name__ == '__main__':
    main()
