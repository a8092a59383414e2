"""What is free goes back to the kernel; what is allocated after packing lies apart from what was there before."""

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyfork.process import memory
from pyfork.process.memory import give_back, pack_heap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, and malloc_trim(3) of glibc")

HOLE = 5000
"""Octets: too small for a mapping of its own, and no whole pages."""


def anonymous() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))


class Loop:
    """Refers to itself, and to octets that go with it."""

    def __init__(self) -> None:
        self.me = self
        self.octets = [bytes(2000) for _ in range(20_000)]  # each too small for a mapping of its own


class Heap:
    """Blocks of the C library's, by address."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._held: set[int] = set()

    def allocate(self, size: int, count: int) -> list[int]:
        """Return the addresses of new blocks."""
        blocks = [self._libc.malloc(ctypes.c_size_t(size)) for _ in range(count)]
        self._held.update(blocks)
        return blocks

    def free(self, blocks: list[int]) -> None:
        """Free some of them."""
        self._held.difference_update(blocks)
        for block in blocks:
            self._libc.free(ctypes.c_void_p(block))

    def free_all(self) -> None:
        """Free all of them."""
        self.free([*self._held])

    def leave_holes(self, count: int) -> list[int]:
        """Leave as many between blocks in use, and return where they are."""
        blocks = sorted(self.allocate(HOLE, 2 * count))
        self.free(blocks[::2])
        return blocks[::2]


@pytest.fixture
def heap() -> Iterator[Heap]:
    """The process's own; in the end, all that the test had of it is free."""
    own = Heap()
    yield own
    own.free_all()
    memory._free(ctypes.CDLL(None), memory._filling)
    del memory._filling[:]


def test_freed_memory_leaves_the_process():
    """Garbage in a circle is collected, and its pages are the kernel's again, though something lies above them."""
    Loop().octets.append(bytes(2000))
    kept = bytes(2000)
    before = anonymous()
    give_back()
    assert before - anonymous() > 20_000
    assert kept


def holes_used(blocks: list[int], holes: list[int]) -> int:
    """Return in how many of the holes some of the blocks lie."""
    return sum(any(hole <= block < hole + HOLE for block in blocks) for hole in holes)


def test_holes_are_filled(heap: Heap):
    """What comes after packing lies elsewhere, whatever its size; without it, it would lie in the holes."""
    holes = heap.leave_holes(500)
    unpacked = heap.allocate(HOLE, 100)
    assert holes_used(unpacked, holes) > 50
    heap.free(unpacked)
    pack_heap()
    for size in (24, 100, 600, 2000, HOLE):
        used = holes_used(heap.allocate(size, 500), holes)
        assert used <= 1, f"{size} octets: one hole may be where the list of what fills the others lay while it grew"


def test_packing_gives_back_whole_pages(heap: Heap):
    """Those of a large hole, which stays open."""
    blocks = heap.allocate(100_000, 400)
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    heap.allocate(100_000, 1)
    heap.free(blocks)
    before = anonymous()
    pack_heap()
    assert before - anonymous() > 39_000


LINE_OF_MOLDS = """
import ctypes, random
from pyfork.process import memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.mallinfo2.restype = memory._MallocInfo
chance = random.Random(1)

def allocate():
    return libc.malloc(ctypes.c_size_t(chance.randint(500, 3000)))

held = [allocate() for _ in range(2000)]
sizes = []
for _ in range(60):
    chance.shuffle(held)
    for block in held[:400]:
        libc.free(ctypes.c_void_p(block))
    held[:400] = [allocate() for _ in range(400)]
    memory.pack_heap()
    sizes.append(libc.mallinfo2().arena)
print(sizes[-1] - sizes[2])
"""


def test_a_line_of_molds_does_not_grow():
    """Each packs what it has from the one before, after a fifth of 3.5 MB was replaced; in a process without holes."""
    done = subprocess.run([sys.executable, "-c", LINE_OF_MOLDS], check=True, capture_output=True, timeout=60)
    assert int(done.stdout) < 1_200_000


@pytest.mark.parametrize("work", [give_back, pack_heap])
@pytest.mark.parametrize(
    "libc", [SimpleNamespace(), SimpleNamespace(malloc_trim=lambda _: 1)], ids=["another C library", "an old glibc"]
)
def test_without_glibc_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], libc: SimpleNamespace
):
    """Other C libraries have no such functions, and older versions of glibc not all of them."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    work()
    assert not memory._filling
