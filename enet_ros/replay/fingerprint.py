"""Tell whether two bags are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_SUFFIXES = ('.mcap', '.db3', '.zstd')
_INDEX = 'metadata.yaml'
_BLOCK = 1 << 20


def fingerprint(path: Path) -> str:
    """Return the SHA-256 digest of a bag, in hexadecimal: of the file, or of the names and digests of its files in a folder.

    Other files in the folder, such as the journal of a database that is open, are not part of the bag.

    Raises:
        OSError: a file cannot be read.

    """
    if path.is_file():
        return _digest(path)
    lines = (f'{_digest(file)} {file.name}\n' for file in _files(path))
    return hashlib.sha256(''.join(lines).encode(errors='surrogateescape')).hexdigest()


def find_equal(paths: Sequence[Path]) -> Path | None:
    """Return a bag with the content of an earlier one. Bags that cannot be read are left out."""
    sizes: dict[int, list[Path]] = {}
    for path in paths:
        with suppress(OSError):
            size = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in _files(path))
            sizes.setdefault(size, []).append(path)
    for same in sizes.values():
        seen: set[str] = set()
        for path in same if len(same) > 1 else ():
            with suppress(OSError):
                if (digest := fingerprint(path)) in seen:
                    return path
                seen.add(digest)
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES or file.name == _INDEX)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open('rb') as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
