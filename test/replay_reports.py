"""Made-up reports with the layout of report.json."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.labels import CAMVID, LabelSet
from enet_ros.replay.results import Picture


def make_report(
    frames: tuple[int, ...] = (40,), labels: LabelSet = CAMVID, truth: bool = True, timed: bool = True, confident: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a report of bags with the given numbers of frames, 10 frames per second."""
    rng = np.random.default_rng(seed)
    count, classes = sum(frames), len(labels)
    confusion = rng.integers(0, 40_000, (classes, classes + 1))
    confusion[np.arange(classes), np.arange(classes)] += 900_000
    confusion[0] = 0  # a class without pixels
    confusion[:, -1] = 0
    pooled = Evaluation(labels, count, confusion).summary() if truth else None
    shares = rng.dirichlet(np.ones(classes), count)
    milliseconds = [round(float(value), 6) for value in rng.gamma(9, 2, count)] if timed else [None] * count
    summary = {name: round(float(np.percentile([value or 0 for value in milliseconds], level)), 6)
               for name, level in (('p50', 50), ('p90', 90), ('p99', 99), ('max', 100))}

    def column(known: bool) -> list[float | None]:
        return [round(float(value), 6) for value in rng.beta(9, 5, count)] if known else [None] * count

    return {
        'format': 1, 'enet_ros': '0.1.0', 'mode': 'offline', 'frames_in': count, 'frames_out': count,
        'mean_iou': pooled and pooled['mean_iou'],
        'verdict': {'passed': False, 'criteria': [
            {'criterion': 'mean_iou >= 0.6', 'source': 'fail_under', 'value': pooled and pooled['mean_iou'], 'limit': 0.6,
             'passed': truth, 'reason': None if truth else 'there is no ground truth'},
            {'criterion': 'iou.Road >= 0.99', 'source': 'criteria', 'value': 0.912345, 'limit': 0.99, 'passed': False,
             'reason': '0.912345 is below 0.99'},
        ]},
        'bags': [{
            'name': f'drive_{number}.mcap', 'sha256': f'{number}' * 64, 'image_topic': '/camera/image_raw',
            'labels_topic': '/labels' if truth else '', 'images': size, 'seconds': (size - 1) / 10,
            'coverage': {'selected': size, 'segmented': size, 'refused': 0, 'with_truth': size if truth else 0, 'without_truth': 0,
                         'truth_refused': 0, 'problems': []},
        } for number, size in enumerate(frames)],
        'failed_bags': [], 'complete': True,
        'model': {'name': 'enet_camvid', 'sha256': 'ab' * 32, 'dataset': 'CamVid', 'classes': list(labels.names),
                  'colors': [list(color) for color in labels.colors]},
        'configuration': {'backend': 'openvino', 'precision': 'fp32', 'device': 'cpu', 'width': 480, 'height': 360,
                          'topics': {'image': '', 'labels': '/labels'}, 'tolerance': 0.05, 'max_frames': None, 'every': 1},
        'criteria': {'metrics': {'iou.Road': {'min': 0.99}}},
        'host': {'CPU': 'made up, 2 cores', 'system': 'Linux'},
        'metrics': {
            'pooled': pooled, 'mean_over_frames': {'mean_iou': 0.58123 if truth else None, 'accuracy': 0.87 if truth else None},
            'boundary': {'distance': 3, 'mean_iou': 0.41 if truth else None,
                         'classes': {name: (0.4 if truth else None) for name in labels.names}},
            'stability': {'flips': 0.0234, 'pairs': count - len(frames)},
            'confidence': {'mean': 0.87654, 'histogram': (np.arange(256) ** 2 * count).tolist()} if confident else None,
            'class_share': dict(zip(labels.names, shares.mean(0).round(6).tolist())),
            'confusion': confusion.tolist() if truth else None,
            'confusion_frames': [
                {'true': true, 'predicted': predicted, 'frames': [[(7 * (true + predicted) + k) % count, 900 - 100 * k] for k in range(3)]}
                for true in range(1, classes) for predicted in range(classes) if true != predicted
            ] if truth else None,
        },
        'frames': {
            'name': [f'{1_700_000_000 + index}.{index % 10}00000000' for size in frames for index in range(size)],
            'bag': [number for number, size in enumerate(frames) for _ in range(size)],
            'seconds': [index / 10 for size in frames for index in range(size)],
            'mean_iou': column(truth), 'accuracy': column(truth), 'flips': [None, *column(True)[1:]],
            'confidence': column(confident), 'class_share': shares.round(6).tolist(),
        },
        'timing': {'latency_ms': summary | {'mean': 18.0} if timed else None, 'fps': 41.5 if timed else None,
                   'frames_ms': milliseconds, 'bags': [], 'date': '2026-11-27'},
    }


def make_pictures(frames: int, count: int = 3, width: int = 96, height: int = 64, truth: bool = True, noise: bool = False,
                  ) -> tuple[list[Picture], list[Picture]]:
    """Return `count` worst and `count` typical pictures of a bag with `frames` frames. Pictures of noise are large."""
    rng = np.random.default_rng(0)

    def picture(frame: int) -> Picture:
        image = rng.integers(0, 255 if noise else 2, (height, width, 3), np.uint8) + np.uint8(frame % 200 * (not noise))
        colored = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))[1].tobytes()
        return Picture(frame, cv2.imencode('.jpg', image)[1].tobytes(), colored, colored if truth else None,
                       colored if truth else None)

    return [picture(frames - 1 - index) for index in range(count)], [picture(index) for index in range(count)]
