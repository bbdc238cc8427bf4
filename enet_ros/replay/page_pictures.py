"""The pictures that fit on the page."""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from enet_ros.replay.page_summary import Report
from enet_ros.replay.results import Picture

BagPictures = tuple[Sequence[Picture], Sequence[Picture]]
"""The worst and the typical frames of a bag."""

PICTURE_BYTES = 7_000_000
"""Of all pictures, at most. A page without pictures has 5 MB, most of it Plotly, and 0.1 MB for each bag."""


def choose_pictures(
    report: Report, pictures: Sequence[BagPictures], most: int = PICTURE_BYTES
) -> tuple[list[dict[str, Any]], int]:
    """Return the pictures that fit into `most` bytes, and how many do not. All bags get as many, as far as possible."""
    frames = report['frames']
    candidates = []
    for number, (worst, typical) in enumerate(pictures):
        first, _ = frame_span(frames['bag'], number)
        candidates.append([
            (number, kind, rank, first + picture.frame, picture)
            for rank, pair in enumerate(zip_longest(worst, typical))
            for kind, picture in zip(('worst', 'typical'), pair) if picture
        ])
    chosen, size = [], 0
    for candidate in (entry for entries in zip_longest(*candidates) for entry in entries if entry):
        *place, picture = candidate
        layers = _layers(picture)
        size += picture_bytes([{'layers': layers}])
        if size > most:
            break
        chosen.append((*place, layers))
    chosen.sort(key=lambda candidate: (candidate[0], candidate[1] != 'worst', candidate[2]))
    shown = [{
        'bag': report['bags'][number]['name'], 'kind': kind, 'rank': rank + 1, 'frame': frame, 'name': frames['name'][frame],
        **{key: frames[key][frame] for key in ('seconds', 'mean_iou', 'accuracy', 'confidence', 'flips')},
        'layers': layers,
    } for number, kind, rank, frame, layers in chosen]
    return shown, sum(map(len, candidates)) - len(chosen)


def _layers(picture: Picture) -> list[dict[str, str]]:
    layers = (('image', 'jpeg', picture.image), ('labels', 'png', picture.labels), ('ground truth', 'png', picture.truth),
              ('difference', 'png', picture.difference))
    return [{'title': title, 'source': f'data:image/{form};base64,{b64encode(data).decode()}'}
            for title, form, data in layers if data]


def picture_bytes(pictures: Iterable[Mapping[str, Any]]) -> int:
    """Return the size of pictures of `choose_pictures` on the page."""
    return sum(len(layer['source']) for picture in pictures for layer in picture['layers'])


def frame_span(owners: Sequence[int], number: int) -> tuple[int, int]:
    """Return the first frame of a bag and the one after its last; `owners` are the sorted bag numbers of all frames."""
    return bisect_left(owners, number), bisect_right(owners, number)
