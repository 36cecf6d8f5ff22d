"""Record batches as bytes: what no client writes, put into a topic by a bare produce request or into its file on disk."""

import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

CODECS = {"gzip": 1, "zstd": 4}
_CHUNK = 1_000_000
CONTROL = 0x20
_HEAD = struct.Struct(">qiibIhiqqqhii")
HEAD_BYTES = _HEAD.size
CRC_AT, BODY_AT = 17, 21


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(value: int) -> bytes:
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def record(
    value: bytes | None, delta: int = 0, key: bytes | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """One record of a batch."""
    body = b"\0\0" + varint(delta) + _sized(key) + _sized(value) + varint(len(headers))
    body += b"".join(_sized(name) + _sized(content) for name, content in headers)
    return varint(len(body)) + body


def _sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def batch(records: Sequence[bytes], codec: str | None = None) -> bytes:
    """A batch of records (`record`, whose deltas count from 0), of now and with the right checksum."""
    payload = b"".join(records)
    return _headed(payload if codec is None else compressed([payload], codec), len(records), codec)


def bomb(size: int, codec: str) -> bytes:
    """A batch of one record whose value unpacks to so many zeros; it is never whole in memory."""
    head, tail = b"\0\0" + varint(0) + varint(-1) + varint(size), varint(0)
    length, zeros = varint(len(head) + size + len(tail)), [bytes(_CHUNK)] * (size // _CHUNK)
    return _headed(compressed([length + head, *zeros, bytes(size % _CHUNK), tail], codec), 1, codec)


def _headed(payload: bytes, count: int, codec: str | None) -> bytes:
    now_ms, attributes = time.time_ns() // 1_000_000, CODECS[codec] if codec else 0
    head = _HEAD.pack(0, 0, -1, 2, 0, attributes, count - 1, now_ms, now_ms, -1, -1, -1, count)
    return sealed(bytearray(head + payload))


def compressed(chunks: Sequence[bytes], codec: str) -> bytes:
    """As streams do it, without the size in front."""
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as stream:
        for chunk in chunks:
            stream.write(chunk)
    return bytes(out.getvalue())


def sealed(content: bytearray) -> bytes:
    """The batch with its length and checksum made right."""
    struct.pack_into(">i", content, 8, len(content) - 12)
    struct.pack_into(">I", content, CRC_AT, crc32c(bytes(content[BODY_AT:])))
    return bytes(content)


def produce_raw(bootstrap: str, topic: str, partition: int, content: bytes) -> int:
    """Write a batch as it is (Produce v7, all replicas); its base offset. Raises OSError with the broker's code."""
    host, _, port = bootstrap.rpartition(":")
    body = struct.pack(">hhih", 0, 7, 1, -1)  # api, version, correlation, no client id
    body += struct.pack(">hhi", -1, -1, 10_000)  # no transactional id, acks, timeout
    body += (
        struct.pack(">ih", 1, len(topic)) + topic.encode() + struct.pack(">iii", 1, partition, len(content)) + content
    )
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = _read(connection, struct.unpack(">i", _read(connection, 4))[0])
    at = 4 + 4 + 2 + len(topic) + 4
    _, code, offset = struct.unpack_from(">ihq", answer, at)
    if code:
        raise OSError(code, f"the broker refused the batch with code {code}")
    return int(offset)


def _read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise OSError("the broker closed the connection")
        content += part
    return content


def patch_on_disk(log_dir: Path, topic: str, partition: int, base: int, edit: Callable[[bytearray], None]) -> None:
    """Change the bytes of the batch that begins at offset `base`, under the broker's feet; its length must stay."""
    file = log_dir / f"{topic}-{partition}" / f"{0:020}.log"
    with file.open("r+b") as log:
        while len(head := log.read(12)) == 12:
            offset, length = struct.unpack(">qi", head)
            if offset != base:
                log.seek(length, 1)
                continue
            content = bytearray(head + log.read(length))
            edit(content)
            assert len(content) == 12 + length
            log.seek(-len(content), 1)
            log.write(content)
            return
    raise LookupError(f"no batch begins at {base}")
