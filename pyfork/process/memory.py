"""Giving memory back to the kernel that the C library keeps for later."""

import ctypes
import gc


def give_back() -> None:
    """Free what nobody refers to, and return whole pages that are free: malloc_trim(3) of glibc, nothing elsewhere.

    Reading modules and settings leaves holes in the heap, half a megabyte to a whole one; whoever lives for months with
    them closes them once. It takes some milliseconds. Called in the arbiter, before it forks.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
