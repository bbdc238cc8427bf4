"""Read an mcap file from its start, without the index at its end: all that is left of a recording that was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from enet_ros.images.bag_compression import expanded_chunk

_MAGIC = b'\x89MCAP0\r\n'  # the first and the last bytes of a finished file


class McapScan:
    """The messages before the first record of an mcap file that is cut off or damaged. Iterate it once or more."""

    def __init__(self, path: Path) -> None:
        """Read `path`."""
        self._path = path
        self.unread = 0
        """After an iteration: bytes from the first record that cannot be read to the end of the file."""

    def __iter__(self) -> Iterator[tuple[str, Channel, Message]]:
        """Yield type, channel and message of all that can be read, in the order of the file."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with self._path.open('rb') as file:
            records = _expanded(StreamReader(file, emit_chunks=True, validate_crcs=True).records)
            while True:
                self.unread = self._path.stat().st_size - file.tell()
                try:
                    record = next(records)
                except Exception:  # the end: a record that was cut off can raise almost any exception
                    return
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message) and (channel := channels.get(record.channel_id)):
                    schema = schemas.get(channel.schema_id)
                    yield schema.name if schema else '', channel, record


def _expanded(records: Iterator[McapRecord]) -> Iterator[McapRecord]:
    """Yield the records, and those in a chunk in its place."""
    for record in records:
        if isinstance(record, Chunk):
            yield from breakup_chunk(expanded_chunk(record), validate_crc=True)
        else:
            yield record


def is_unfinished_mcap(path: Path) -> bool:
    """Return whether `path` starts as an mcap file but does not end as a finished one."""
    if path.suffix.lower() != '.mcap' or not path.is_file():
        return False
    with path.open('rb') as file:
        start = file.read(len(_MAGIC))
        file.seek(max(len(_MAGIC), path.stat().st_size - len(_MAGIC)))
        return start == _MAGIC and file.read() != _MAGIC


def read_metadata(path: Path, name: str) -> list[dict[str, str]]:
    """Return the metadata records with this name in an mcap file, up to the first one that cannot be read."""
    found = []
    with suppress(Exception), path.open('rb') as file:  # a damaged record can raise almost any exception
        # in a chunk, there is none
        records = (StreamReader(file, emit_chunks=True).records if is_unfinished_mcap(path)
                   else make_reader(file).iter_metadata())
        for entry in records:
            if isinstance(entry, Metadata) and entry.name == name:
                found.append(entry.metadata)
    return found
