"""The scripts of bench/ import each other as scripts do: from their own folder."""

from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench_folder(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
