"""Large pages for the memory that a network's weights and maps lie in.

A pass over an image touches tens of megabytes, in pages of 4 KiB more than the CPU's table of
translations holds. Linux gives large pages (2 MiB on x86) to memory that asks for them, where
/sys/kernel/mm/transparent_hugepage/enabled says `madvise`; where it says `always` they are there
already, where `never` nothing happens.

Source: madvise(2), MADV_HUGEPAGE; MADV_COLLAPSE since Linux 6.1.
"""

import ctypes
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

MAPS = Path("/proc/self/maps")
_LARGE = 2 * 2**20
_HUGEPAGE, _COLLAPSE = 14, 25


def use_large_pages() -> int:
    """Ask for large pages for all private memory of this process that is there now; returns how
    many bytes of it were put together at once. A system that has none is no reason to stop."""
    if sys.platform != "linux":
        return 0
    try:
        advise, areas = ctypes.CDLL(None).madvise, [*private_areas(MAPS.read_text())]
    except (OSError, AttributeError) as error:
        log.info("no large pages", extra={"reason": str(error)})
        return 0
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    together = 0
    for start, end in areas:
        if advise(start, end - start, _HUGEPAGE) == 0:
            together += (end - start) * (advise(start, end - start, _COLLAPSE) == 0)
    log.info("large pages", extra={"mib": round(together / 2**20)})
    return together


def private_areas(maps: str) -> Iterator[tuple[int, int]]:
    """Of the text of /proc/PID/maps: what is written to, belongs to no file, and holds a whole
    large page; its first and last ones' ends."""
    for line in maps.splitlines():
        span, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights != "rw-p" or inode != "0" or name[:1] not in ([], ["[heap]"]):
            continue
        start, end = (int(edge, 16) for edge in span.split("-"))
        start, end = -(-start // _LARGE) * _LARGE, end // _LARGE * _LARGE
        if start < end:
            yield start, end
