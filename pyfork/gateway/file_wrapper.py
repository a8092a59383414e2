"""``wsgi.file_wrapper``: PEP 3333, "Optional Platform-Specific File Handling".

A file that the kernel can send by itself becomes a `FileRegion`; everything else is read in blocks. Having a
``fileno()`` is not enough: ``gzip.GzipFile`` and its kind have one too, and it leads to the octets *before* they are
decompressed. So only the standard library's plain binary files count, and a temporary file that wraps one of them.
"""

import io
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct


class BinaryFile(Protocol):
    """What the wrapper needs: an object with ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` octets, b"" at the end."""


class FileRegion(Struct, frozen=True):
    """Octets that the kernel is to send from a file, after some that are in memory.

    Attributes:
        head: what goes before, often the response's head.
        fd: of the file.
        offset: where the region begins.
        count: its length in octets, at least 1.
    """

    head: bytes
    fd: int
    offset: int
    count: int


class FileWrapper:
    """What an application returns to have a file sent.

    Args:
        file: an object with ``read``, and perhaps ``close``.
        blksize: octets for each read, where the file must be read; named as wsgiref names it.
    """

    __slots__ = ("_block_size", "_file")

    def __init__(self, file: BinaryFile, blksize: int = 8192) -> None:
        self._file = file
        self._block_size = blksize

    def __iter__(self) -> "FileWrapper":
        return self

    def __next__(self) -> bytes:
        data = self._file.read(self._block_size)
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()

    def locate(self) -> FileRegion | None:
        """Return the file from its present position to its end, or None if it must be read instead.

        An empty file is one that must be read: what is in /proc tells its size as 0 as well.
        """
        file = _plain_file(self._file)
        if file is None:
            return None
        try:
            file.flush()
            offset = file.tell()
            fd = file.fileno()
            status = os.fstat(fd)
        except (OSError, ValueError):  # no position (a pipe), or closed: reading says what is wrong
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_size <= offset or not file.readable():
            return None
        return FileRegion(b"", fd, offset, status.st_size - offset)


class FileParts:
    """Parts of an open file with octets around them, of a known length in all; what static files are returned as.

    It is an iterable of bytes only as far as PEP 3333 has to be content: `Exchange` knows it and asks for `regions`.

    Args:
        fd: of the file; closed by `close`.
        spans: first octet and number of octets of each part, at least one of each.
        heads: what goes before each part, nothing if they are not framed.
        tail: what goes behind the last.

    Attributes:
        length: octets of it all.
    """

    __slots__ = ("_fd", "_heads", "_spans", "_tail", "length")

    def __init__(
        self, fd: int, spans: Sequence[tuple[int, int]], heads: Sequence[bytes] = (), tail: bytes = b""
    ) -> None:
        self._fd = fd
        self._spans = spans
        self._heads = heads or [b""] * len(spans)
        self._tail = tail
        self.length = sum(count for _, count in spans) + sum(map(len, heads)) + len(tail)

    def __iter__(self) -> Iterator[bytes]:
        raise NotImplementedError

    def regions(self, head: bytes) -> Iterator[bytes | FileRegion]:
        """Yield it all to be sent, with ``head`` first."""
        for (offset, count), own in zip(self._spans, self._heads, strict=True):
            yield FileRegion(head + own, self._fd, offset, count)
            head = b""
        if self._tail:
            yield self._tail

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _plain_file(file: Any) -> io.BufferedReader | io.BufferedRandom | io.FileIO | None:
    if type(file).__module__ == "tempfile":
        file = getattr(file, "file", file)
    if type(file) is io.FileIO:
        return file
    if type(file) in {io.BufferedReader, io.BufferedRandom} and type(file.raw) is io.FileIO:
        plain: io.BufferedReader | io.BufferedRandom = file
        return plain
    return None
