"""Which split an image belongs to: by the name of its folder, or, where there are none, by choice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from enet_ros.datasets.prepared import SPLITS, DatasetError
from enet_ros.datasets.writing import Pair

DEFAULT_SHARE = 0.2
"""What is held out of own data that have no splits."""

Choice: TypeAlias = Callable[[Sequence[Pair]], set[str]]
"""Returns the names of those pairs that are held out."""


_SPLIT_NAME = re.compile(r'(train|val|test)(?:ing|id|idation)?(?![a-z])', re.IGNORECASE)


def split_of(path: Path, part: str) -> str:
    """Return the split that `part`, the name of `path` or of what it holds, stands for, as train2017, valid and Test do.

    Raises:
        DatasetError: it stands for none.

    """
    if not (found := _SPLIT_NAME.match(part)):
        raise DatasetError(f'{path} belongs to none of {", ".join(SPLITS)}: rename it to begin with one, or take it out')
    return found[1].lower()


def hold_out(splits: Mapping[str, Sequence[Pair]], choice: Choice | None) -> dict[str, Sequence[Pair]]:
    """Move what `choice` takes from train to val; None moves nothing.

    Raises:
        DatasetError: there is something to move but a val split already or no train split, or nothing is left to train on.

    """
    splits = {split: splits[split] for split in SPLITS if split in splits}
    if choice is None:
        return splits
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
