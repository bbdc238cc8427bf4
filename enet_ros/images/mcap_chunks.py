"""Read the messages of a finished mcap file by time, without more of it in memory than needed.

A chunk is read when its turn comes. rosbags, whose index of the file is used here, reads all chunks that start at the time
of the next message: the whole file, if all its messages have one time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Generator, Iterator
from heapq import heapify, heappop, heappush

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Chunk
from mcap.stream_reader import get_chunk_data_stream
from rosbags.interfaces import Connection
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader

from enet_ros.images.bag_compression import expanded_chunk

_RECORD = struct.Struct('<BQ')  # opcode, number of bytes that follow
_MESSAGE = struct.Struct('<HIQQ')  # channel, sequence number, time of recording, time of publishing

_Message = tuple[Connection, int, bytes]
"""Connection, time of recording in nanoseconds, data."""


class McapChunkReader(McapReader):
    """The storage reader of rosbags for mcap files, with another order of reading."""

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None,
    ) -> Generator[_Message, None, None]:
        """Yield the messages of `connections` from the time `start` to before `stop`, by time and place in the file."""
        if not self.chunks:
            yield from super().messages(connections, start, stop)
            return
        by_id = {connection.id: connection for connection in connections}
        first, end = start or 0, stop or 1 << 64
        chunks = [chunk for chunk in self.chunks if chunk.message_end_time >= first and chunk.message_start_time < end
                  and not (chunk.channel_count and by_id.keys().isdisjoint(chunk.channel_count))]
        # no two entries have the same time and place, so that only these are compared
        queue: list[tuple[int, tuple[int, int], ChunkInfo | _Message]]
        queue = [(chunk.message_start_time, (chunk.chunk_start_offset, -1), chunk) for chunk in chunks]
        heapify(queue)
        while queue:
            _, (offset, _), entry = heappop(queue)
            if not isinstance(entry, ChunkInfo):
                yield entry
                continue
            for place, channel, time, data in self._read(entry):
                if channel in by_id and first <= time < end:
                    heappush(queue, (time, (offset, place), (by_id[channel], time, bytes(data))))

    def _read(self, index: ChunkInfo) -> Iterator[tuple[int, int, int, memoryview]]:
        """Yield place in the chunk, channel, time and data of each message."""
        assert self.bio
        self.bio.seek(index.chunk_start_offset + _RECORD.size)
        chunk = expanded_chunk(Chunk.read(ReadDataStream(self.bio)))
        stream, end = get_chunk_data_stream(chunk, validate_crc=True)
        records, position = memoryview(stream.read(end)), 0
        while position < end:
            opcode, size = _RECORD.unpack_from(records, position)
            position += _RECORD.size
            if opcode == Opcode.MESSAGE:
                channel, _, time, _ = _MESSAGE.unpack_from(records, position)
                yield position, channel, time, records[position + _MESSAGE.size : position + size]
            position += size
