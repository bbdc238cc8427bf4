"""Read YAML and JSON files and report what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from enet_ros.errors import DatasetError, EnetError, one_line
from enet_ros.parsing import read_json as load_json
from enet_ros.parsing import read_yaml as load_yaml


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. `remedy` ends the error.

    Raises:
        DatasetError: the file cannot be read or holds something else.

    """
    return _read(path, load_yaml, remedy)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds an object. `remedy` ends the error.

    Raises:
        DatasetError: the file cannot be read or holds something else.

    """
    return _read(path, load_json, remedy)


def _read(path: Path, load: Callable[[Path], object], remedy: str) -> dict[str, Any]:
    try:
        fields = load(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f'cannot read {path}: {one_line(error)}; {remedy}') from error
    if not isinstance(fields, dict):
        raise DatasetError(f'{path} is not valid: it must hold keys with values; {remedy}')
    return fields


@contextmanager
def parsing(where: object, remedy: str) -> Iterator[None]:
    """Raise a DatasetError that starts with `where` and ends with `remedy` if the fields of a file cannot be used.

    A DatasetError from the block passes unchanged: it names the file already.
    """
    try:
        yield
    except DatasetError:
        raise
    except KeyError as error:
        raise DatasetError(f'{where} lacks {error}: {remedy}') from error
    except (  # what Python, NumPy and OpenCV raise for values of the wrong type, range or size
        EnetError, TypeError, ValueError, AttributeError, IndexError, OverflowError, MemoryError, cv2.error
    ) as error:
        raise DatasetError(f'{where} is not valid: {one_line(error)}; {remedy}') from error


def text_of(fields: Mapping[str, Any], key: str) -> str:
    """Return the text at `key`.

    Raises:
        KeyError: the key is missing.
        ValueError: the value is empty or not text.

    """
    value = fields[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f'{key} is {value!r} but must be text')
    return value
