"""Which of a dataset's images are held out for validation, where it has no validation split of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from enet_ros.datasets.prepared import DatasetError
from enet_ros.datasets.writing import Pair

DEFAULT_SHARE = 0.2
"""What is held out of own data that have no splits."""

Choice: TypeAlias = Callable[[Sequence[Pair]], set[str]]
"""Returns the names of those pairs that are held out."""


def hold_out(splits: Mapping[str, Sequence[Pair]], choice: Choice | None) -> dict[str, Sequence[Pair]]:
    """Move what `choice` takes from train to val; None moves nothing.

    Raises:
        DatasetError: there is something to move but a val split already or no train split, or nothing is left to train on.

    """
    if choice is None:
        return dict(splits)
    if 'val' in splits or 'train' not in splits:
        raise DatasetError(f'the images are in {", ".join(splits)} already: choose no images for validation')
    chosen = choice(splits['train'])
    train = [pair for pair in splits['train'] if pair.name not in chosen]
    if not train:
        raise DatasetError(f'all {len(chosen)} images are held out for validation: hold out fewer, or add images')
    return {**splits, 'train': train, 'val': [pair for pair in splits['train'] if pair.name in chosen]}


def by_share(share: float) -> Choice:
    """Hold out `share` (0 to 1) of the images, and at least one.

    Which ones depends on their names alone: it is the same every time, and changes little when images are added.
    """

    def choose(pairs: Sequence[Pair]) -> set[str]:
        names = sorted((pair.name for pair in pairs), key=lambda name: hashlib.sha256(name.encode()).digest())
        return set(names[: max(1, round(share * len(names)))])

    return choose


def by_prefix(prefixes: Sequence[str]) -> Choice:
    """Hold out the images whose names start with one of `prefixes`, such as those of a whole drive."""

    def choose(pairs: Sequence[Pair]) -> set[str]:
        for prefix in prefixes:
            if not any(pair.name.startswith(prefix) for pair in pairs):
                raise DatasetError(f'no image name starts with "{prefix}": {pairs[0].name}, say, is one')
        return {pair.name for pair in pairs if pair.name.startswith(tuple(prefixes))}

    return choose
