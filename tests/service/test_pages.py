"""Which memory is asked for in large pages, and that asking harms nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest

from service.engine import pages
from service.engine.pages import MAPS, private_areas, use_large_pages

MIB = 2**20


def test_only_whole_large_pages_of_private_writable_memory_count() -> None:
    text = "\n".join(
        (
            "00100000-00900000 rw-p 00000000 00:00 0 ",  # 1 to 9 MiB
            "01000000-01400000 rw-p 00000000 00:00 0                   [heap]",
            "02000000-02400000 r-xp 00000000 00:00 0 ",  # code
            "03000000-03400000 rw-s 00000000 00:00 0 ",  # shared
            "04000000-04400000 rw-p 00000000 08:01 77                  /usr/lib/libx.so",
            "05000000-05400000 rw-p 00000000 00:00 0                   [stack]",
            "06100000-06300000 rw-p 00000000 00:00 0 ",  # 2 MiB, but no whole page
        )
    )
    assert list(private_areas(text)) == [(2 * MIB, 8 * MIB), (16 * MIB, 20 * MIB)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_memory_holds_what_it_held() -> None:
    values = np.random.default_rng(0).integers(0, 256, 32 * MIB, np.uint8)
    before = values.sum(dtype=np.int64)
    use_large_pages()
    assert values.sum(dtype=np.int64) == before
    inside = values.ctypes.data + 16 * MIB
    assert any(start <= inside < end for start, end in private_areas(MAPS.read_text()))


def test_a_system_without_a_list_of_its_memory_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAPS", tmp_path / "maps")
    assert use_large_pages() == 0
