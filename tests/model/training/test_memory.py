"""`keep_freed_memory`: in processes of their own, for it lasts."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from model.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for run in range(6):
    if run == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.full(50_000_000 // 8, 1.0)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_memory_that_was_freed_does_not_come_from_the_kernel_again() -> None:
    assert page_faults("kept") < page_faults("returned") / 10
