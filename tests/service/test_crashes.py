"""SIGKILL at random moments, 20 times: what was acknowledged is there, and nothing by half.

The same through HTTP, with fewer kills, stands in integration/test_outages.py.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from service.registry.sql_store import SqlStore
from tests.registering import NAMES, class_of
from tests.stores import changes_since

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = 20


def test_no_acknowledged_class_is_lost_and_none_is_there_by_half(
    database_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    acknowledged = tmp_path / "acknowledged"
    words = [database_url, str(acknowledged), str(KILLS), str(seed)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.registering", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [-9] * KILLS, f"seed {seed}: {done.stderr}"

    store = SqlStore(database_url, NAMES)
    changes = changes_since(store, 0)
    found = {record.summary.class_id: record for record in changes.written.values()}
    promised = acknowledged.read_text().split()
    assert len(promised) > 1000
    assert set(promised) <= found.keys(), f"seed {seed}"
    batches: dict[str, list[int]] = {}
    for class_id, record in found.items():
        expected = class_of(class_id)
        assert record.attributes.tolist() == expected.attributes.tolist()
        assert (record.summary.name, record.metadata) == (expected.name, expected.metadata)
        if expected.mean is not None:
            assert record.mean is not None
            assert record.mean.vector.tolist() == expected.mean.vector.tolist()
            assert store.photographs("default", class_id) == list(expected.photographs)
        batches.setdefault(class_id.rpartition("-")[0], []).append(record.summary.revision)
    for name, revisions in batches.items():
        # All of a batch, in one revision.
        assert len(revisions) == int(name.rpartition("of")[2]), f"seed {seed}: {name}"
        assert len(set(revisions)) == 1
    # A revision that was taken and not written would be one that followers wait for.
    assert Counter(r[0] for r in batches.values()) == Counter(range(1, changes.revision + 1))
    store.close()
