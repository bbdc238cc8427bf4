"""Write labelme_masks.json: random shapes, and the masks that labelme itself makes of them. Needs `pip install labelme`."""

from __future__ import annotations

import base64
import json
import math
import random
from importlib.metadata import version
from pathlib import Path

import numpy as np
from labelme.utils import img_arr_to_b64, img_b64_to_arr, shapes_to_label

HEIGHT, WIDTH = 40, 56


def point() -> list[float]:
    """Return a point in or near the image; some have whole or half coordinates."""
    step = random.choice([0.5, 0.001])
    return [round(random.uniform(-4, side + 4) / step) * step for side in (WIDTH, HEIGHT)]


def rotated_rectangle() -> list[list[float]]:
    x, y, angle = random.uniform(15, 40), random.uniform(10, 30), random.uniform(0, math.pi)
    a, b = random.uniform(2, 20), random.uniform(2, 12)
    return [[x + u * a * math.cos(angle) - v * b * math.sin(angle), y + u * a * math.sin(angle) + v * b * math.cos(angle)]
            for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def mask() -> dict[str, object]:
    height, width = random.randint(1, 12), random.randint(1, 12)
    pixels = np.array([[random.random() < 0.6 for _ in range(width)] for _ in range(height)], np.uint8) * 255
    x, y = random.randint(0, WIDTH - width - 1), random.randint(0, HEIGHT - height - 1)
    fraction = random.choice([0, 0.25, 0.5, 0.75])
    corners = [[x + fraction, y + fraction], [x + width - 1 + fraction, y + height - 1 + fraction]]
    return {'shape_type': 'mask', 'points': corners, 'mask': img_arr_to_b64(pixels)}


def main() -> None:
    random.seed(14)
    shapes = [{'shape_type': 'polygon', 'points': [point() for _ in range(corners)]} for corners in (3, 3, 4, 4, 5, 9)]
    shapes += [{'shape_type': 'rectangle', 'points': [point(), point()]} for _ in range(4)]
    shapes += [{'shape_type': 'circle', 'points': [point(), point()]} for _ in range(5)]
    shapes += [{'shape_type': 'line', 'points': [point(), point()]} for _ in range(3)]
    shapes += [{'shape_type': 'linestrip', 'points': [point() for _ in range(4)]} for _ in range(2)]
    shapes += [{'shape_type': 'point', 'points': [point()]} for _ in range(3)]
    shapes += [{'shape_type': 'oriented_rectangle', 'points': rotated_rectangle()} for _ in range(5)]
    shapes += [mask() for _ in range(6)]
    drawn = []
    for shape in shapes:
        loaded = {**shape, 'label': 'a'}
        if 'mask' in shape:
            loaded['mask'] = img_b64_to_arr(shape['mask']).astype(bool)
        labels = shapes_to_label((HEIGHT, WIDTH), [loaded], {'a': 1})[0]
        drawn.append({'shape': shape, 'mask': base64.b64encode(np.packbits(labels == 1).tobytes()).decode()})
    lines = ',\n'.join(json.dumps(one) for one in drawn)
    text = f'{{"labelme": "{version("labelme")}", "height": {HEIGHT}, "width": {WIDTH}, "drawn": [\n{lines}\n]}}\n'
    (Path(__file__).parent / 'labelme_masks.json').write_text(text)


if __name__ == '__main__':
    main()
