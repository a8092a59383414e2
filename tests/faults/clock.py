"""A wall clock that jumps, for one server: CLOCK_REALTIME belongs to the whole machine and must not be touched.

A library that is loaded before libc (ld.so(8), LD_PRELOAD) adds what a file says to what clock_gettime(2) and its like
return of CLOCK_REALTIME; a time namespace has no offset for that clock (time_namespaces(7)). Timers inside the kernel
are not moved, but nothing of pyfork's, Python's or libev's sets one by the wall clock. It takes a C compiler.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile long long *seconds;

__attribute__((constructor)) static void begin(void)
{
    int fd = open(getenv("FAULTS_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        seconds = page;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = next(id, time);
    if (result == 0 && seconds && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        time->tv_sec += *seconds;
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """The wall clock of one server.

    Args:
        directory: the server's; the library and the offset lie there.

    Attributes:
        environ: variables that make it a program's clock; empty where there is no compiler.
    """

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "clock"
        self.environ: dict[str, str] = {}
        compiler = shutil.which("cc")
        if compiler is None:
            return
        self._offset.write_bytes(struct.pack("q", 0))
        library = directory / "clock.so"
        source = directory / "clock.c"
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self.environ = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(self._offset)}

    @property
    def can_jump(self) -> bool:
        """Whether there is such a clock."""
        return bool(self.environ)

    def jump_to(self, offset: int) -> None:
        """Let it be ``offset`` seconds off from now on."""
        with self._offset.open("r+b") as file:  # in place: it is mapped
            os.pwrite(file.fileno(), struct.pack("q", offset), 0)
