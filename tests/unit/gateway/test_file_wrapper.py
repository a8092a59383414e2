"""``wsgi.file_wrapper``."""

import bz2
import gzip
import io
import os
import tempfile

import pytest

from pyfork.gateway.file_wrapper import FileWrapper


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 10)
    return path


def test_it_is_an_iterable_of_blocks():
    """Of the size that was asked for, until the file ends."""
    assert list(FileWrapper(io.BytesIO(b"abcdefg"), 3)) == [b"abc", b"def", b"g"]
    assert len(next(FileWrapper(io.BytesIO(bytes(10_000))))) == 8192


def test_close_closes_the_file():
    """If it can be closed (PEP 3333)."""
    file = io.BytesIO()
    FileWrapper(file).close()
    assert file.closed

    class OnlyRead:
        def read(self, size):
            return b""

    FileWrapper(OnlyRead()).close()


def test_close_is_looked_up_when_it_is_called(path):
    """Django puts its response's close() onto the file after it was wrapped."""
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        calls = []
        file.close = lambda: calls.append("closed")
        wrapper.close()
        del file.close
    assert calls == ["closed"]


@pytest.mark.parametrize(("mode", "buffering"), [("rb", -1), ("rb", 0), ("r+b", -1)])
def test_a_plain_file_is_a_region_from_its_position_on(path, mode, buffering):
    """Not from where its buffer has read to."""
    with path.open(mode, buffering=buffering) as file:
        file.read(7)
        region = FileWrapper(file).locate()
        assert (region.head, region.fd, region.offset, region.count) == (b"", file.fileno(), 7, 93)


def test_what_was_written_is_part_of_it():
    """A buffer that is not yet in the file would be missing from it."""
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(2)
        file.write(b"xx")
        region = FileWrapper(file).locate()
        assert (region.offset, region.count) == (4, 6)
        assert os.pread(region.fd, 10, 0) == b"01xx456789"


def test_a_named_temporary_file_is_one_too():
    """The standard library wraps it; the wrapper changes nothing."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(1)
        assert FileWrapper(file).locate().count == 9
    with tempfile.SpooledTemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(0)
        assert FileWrapper(file).locate() is None


@pytest.mark.parametrize("module", [gzip, bz2])
def test_a_file_that_translates_is_read(tmp_path, module):
    """Its fileno() leads to other octets than its read()."""
    path = tmp_path / "packed"
    path.write_bytes(module.compress(b"clear text"))
    with module.open(path) as file:
        wrapper = FileWrapper(file)
        assert file.fileno() > 0
        assert wrapper.locate() is None
        assert list(wrapper) == [b"clear text"]


def test_a_text_file_is_read(path):
    """And refused then: it yields no bytes."""
    with path.open() as file:
        assert FileWrapper(file).locate() is None


def test_a_subclass_is_read(path):
    """It may have a read() of its own."""

    class Shouting(io.FileIO):
        def read(self, size=-1):
            return super().read(size).upper()

    with Shouting(path) as file:
        assert FileWrapper(file).locate() is None
    with io.BufferedReader(Shouting(path)) as file:
        assert FileWrapper(file).locate() is None


def test_what_is_no_regular_file_is_read(path, tmp_path):
    """A pipe has no position; /dev/zero has no end."""
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb"):
        assert FileWrapper(file).locate() is None
    with open("/dev/zero", "rb") as file:
        assert FileWrapper(file).locate() is None


def test_a_file_at_its_end_is_read(path):
    """A size of 0 may be a lie (in /proc), and there is nothing to gain."""
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        assert FileWrapper(file).locate() is None


def test_a_file_that_cannot_be_sent_is_read(path):
    """Whatever is wrong with it then comes out as the application's own exception."""
    file = path.open("rb")
    file.close()
    wrapper = FileWrapper(file)
    assert wrapper.locate() is None
    with pytest.raises(ValueError, match="closed"):
        next(wrapper)
    with io.FileIO(path, "a") as file:
        file.seek(0)
        assert FileWrapper(file).locate() is None


def test_the_block_size_has_its_usual_name():
    """wsgiref's and gunicorn's: applications give it by name."""
    assert list(FileWrapper(io.BytesIO(b"hello"), blksize=3)) == [b"hel", b"lo"]
