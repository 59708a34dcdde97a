"""`python -m tests.registering DATABASE_URL ACKNOWLEDGED ROUNDS SEED`: processes that register
classes, one process after the other; each is killed somewhere in its first thousand.

A line of the file ACKNOWLEDGED is a batch whose registration returned: its ids. Prints how each
process ended.
"""

import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from service.registry.records import NewClass, PhotographsMean
from service.registry.sql_store import SqlStore

NAMES = tuple(f"attribute-{i}" for i in range(9))
CLASSES = 1000
CLIENTS = 4
PHOTOGRAPHED = 0.1
LONGEST_PAUSE_S = 0.01  # between the last count and the kill: a few commits


def class_of(class_id: str) -> NewClass:
    """A class that follows from its id, so that half of one can be told; some have photographs."""
    numbers = random.Random(class_id)
    sheet = np.array([numbers.uniform(0, 100) for _ in range(len(NAMES))])
    new = NewClass(class_id, f"name of {class_id}", sheet, len(NAMES), 0, {"of": class_id})
    if numbers.random() > PHOTOGRAPHED:
        return new
    mean = PhotographsMean(np.array([numbers.random()], np.float32), "b" * 64)
    return replace(new, photographs=(numbers.randbytes(900), numbers.randbytes(10)), mean=mean)


def batches(round_number: int, client: int) -> Iterator[list[str]]:
    """What one client registers: ids, in batches of 1 to 9. An id says the batch and its size."""
    numbers = random.Random(round_number * CLIENTS + client)
    for batch in itertools.count():
        size = numbers.choice((1, 1, 2, 9))
        name = f"r{round_number}-c{client}-b{batch}-of{size}"
        yield [f"{name}-{number}" for number in range(size)]


def register(url: str, acknowledged: Path, round_number: int) -> None:
    store = SqlStore(url, NAMES)
    told = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def work(client: int) -> None:
        for ids in batches(round_number, client):
            store.add("default", [class_of(class_id) for class_id in ids])
            os.write(told, (" ".join(ids) + "\n").encode())

    threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(url: str, acknowledged: Path, rounds: int, seed: int) -> list[int]:
    acknowledged.touch()
    moments = random.Random(seed)
    endings = []
    with acknowledged.open() as told:
        for round_number in range(rounds):
            process = os.fork()
            if not process:
                register(url, acknowledged, round_number)
                os._exit(0)
            count, last = 0, moments.randrange(CLASSES)
            while count < last and os.waitpid(process, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
                count += len(told.read().split())
            time.sleep(moments.uniform(0, LONGEST_PAUSE_S))
            os.kill(process, signal.SIGKILL)
            endings.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
            told.read()
    return endings


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
