"""Tell whether two bags are the same."""

from __future__ import annotations

import hashlib
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
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES or file.name == _INDEX)
    lines = (f'{_digest(file)} {file.name}\n' for file in files)
    return hashlib.sha256(''.join(lines).encode(errors='surrogateescape')).hexdigest()


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open('rb') as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
