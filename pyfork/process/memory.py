"""The heap of the C library: giving back what is free, and packing it before copies of the process are made.

A forked process shares a page until one of them writes to it. What is free in the heap lies between what is in use, so
the first large value that a worker makes would write to the pages of what it shares; and so would the next. `pack_heap`
sees to it that what a copy allocates lies apart from what it shares (ADR 21).

Python's own small objects (up to 512 octets) are not in this heap. Elsewhere than with glibc nothing happens: musl and
macOS have no malloc_trim(3), and glibc has mallinfo2(3) since 2.33; without that one, nothing is packed.
"""

import ctypes
import gc
from array import array
from collections.abc import Iterable
from itertools import chain

_LARGE = range(120 * 1024, 32 * 1024, -256)  # from M_MMAP_THRESHOLD on (128 KiB at least), a block is a mapping
_SMALL = range(32 * 1024 - 8, 8, -16)  # a block has 8 octets more in a heap whose addresses are multiples of 16
_UNCOUNTED = 1 << 20  # octets: what a thread has freed and keeps for itself (tcache) is not counted as free
_UNCACHED = 4096  # octets: too many to be kept so

_filling = array("Q")
"""The addresses of the blocks that fill holes; a copy of this process has them too, at the same addresses."""


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of mallinfo(3): ``fordblks`` octets are free, ``keepcost`` of them at the heap's end."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def give_back() -> None:
    """Free what nobody refers to, and return whole pages that are free.

    Reading modules and settings leaves holes in the heap, half a megabyte to a whole one; whoever lives for months with
    them closes them once. It takes some milliseconds. Called in the arbiter, before it forks.
    """
    gc.collect()
    _trim(ctypes.CDLL(None))


def pack_heap() -> None:
    """Return whole pages that are free, and fill the holes of up to 32 KiB that are left.

    What fits into them is out of use for this process and its copies (2 MB of the 150 of a warm worker) until one of
    them packs its own heap: then these holes are free again, and those that have come since are filled. So a line of
    copies of copies finds room in what it had before, and does not grow. Larger holes stay open: their pages are the
    kernel's, so who fills them writes to little that is shared.

    Called in the mold, before it forks; takes some milliseconds.
    """
    libc = ctypes.CDLL(None)
    before = _filling[:]
    del _filling[:]
    _trim(libc)
    _fill_holes(libc)
    _free(libc, before)
    _trim(libc)  # the ends of the blocks that lay in large holes for a moment


def _trim(libc: ctypes.CDLL) -> None:
    trim = getattr(libc, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _fill_holes(libc: ctypes.CDLL) -> None:
    """Allocate the largest sizes first, each until a block of it comes from the end of the heap; that one goes back."""
    inform = getattr(libc, "mallinfo2", None)
    if inform is None:
        return
    inform.restype = _MallocInfo
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.realloc.argtypes, libc.realloc.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None
    libc.sbrk.argtypes, libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
    info = inform()
    end = libc.sbrk(0) - info.keepcost
    most = 2 * (info.fordblks - info.keepcost) + _UNCOUNTED  # to be safe: another library may stand in for malloc
    taken = 0
    spared = array("Q")
    for size in chain(_LARGE, _SMALL):
        while taken < most:
            block = libc.malloc(size)
            if block is None:
                break
            if block >= end:
                libc.free(libc.realloc(block, max(size, _UNCACHED)) or block)
                break
            (spared if size in _LARGE else _filling).append(block)
            taken += size
    _free(libc, spared)


def _free(libc: ctypes.CDLL, blocks: Iterable[int]) -> None:
    for block in blocks:
        libc.free(ctypes.c_void_p(block))
