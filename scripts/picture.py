"""Draw docs/labels.png: predicted labels of CamVid images above their ground truth. It contains no camera image."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from enet_ros.datasets.prepared import read_dataset
from enet_ros.images.files import write_image
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.segmenter import Segmenter


def main() -> None:
    """Read the arguments and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='CamVid, prepared with "enet convert"')
    parser.add_argument('--out', type=Path, default=Path('docs/labels.png'), metavar='FILE',
                        help='picture to write (default: %(default)s)')
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data)
    segmenter = Segmenter(read_model(default_model()))
    palette = dataset.labels.palette()[:, ::-1]
    columns = []
    for sample in dataset.samples('val')[10::40]:
        image, truth = sample.read()
        columns.append(np.concatenate((palette[segmenter.segment(image, 'bgr').labels], palette[truth])))
    picture = np.concatenate(columns, 1)
    legend = np.full((24, picture.shape[1], 3), 255, np.uint8)
    step = picture.shape[1] // len(dataset.labels)
    for number, name in enumerate(dataset.labels.names):
        left = number * step + 4
        cv2.rectangle(legend, (left, 5), (left + 14, 19), palette[number].tolist(), cv2.FILLED)
        cv2.putText(legend, name, (left + 20, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    write_image(arguments.out, np.concatenate((picture, legend)))


if __name__ == '__main__':
    main()
