"""Two replicas on one database, under load, while classes come and go: what fails, and how soon
does each replica know?

    python bench/replicas.py [--database-url postgresql://...] [--clients 16] [--register 500]
                             [--remove 100] [--bundle weights/birds]

Without a URL they share a SQLite file. The clients classify without pause, half of them at each
replica. Every change is written through one replica, in turn, and is in force once `/classify` with
that class as its only candidate answers accordingly at the other one, too. Exits with 1 when
anything was answered 5xx or a change took longer than a second.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import photographs
import running

LIMIT_S = 1.0
GIVE_UP_S = 10.0


def load(url: str, files: list[bytes], over: threading.Event, counts: list[Counter[int]]) -> None:
    """One client."""
    own: Counter[int] = Counter()
    counts.append(own)
    with httpx.Client(base_url=url, timeout=30) as client:
        for file in itertools.cycle(files):
            if over.is_set():
                break
            own[client.post("/classify", content=file).status_code] += 1


class Changes:
    """Writes through one replica, looks at the other."""

    def __init__(self, urls: list[str], file: bytes) -> None:
        self._clients = [httpx.Client(base_url=url, timeout=30) for url in urls]
        self._file = file
        self.statuses: Counter[int] = Counter()

    def write(self, number: int, method: str, path: str, body: object = None) -> None:
        answer = self._clients[number % 2].request(method, path, json=body)
        self.statuses[answer.status_code] += 1
        answer.raise_for_status()

    def known_after(self, number: int, class_id: str, *, there: bool) -> float:
        """Seconds until the other replica classifies with a class, or without it."""
        started = time.perf_counter()
        expected = 200 if there else 404
        while (waited := time.perf_counter() - started) < GIVE_UP_S:
            answer = self._clients[(number + 1) % 2].post(
                "/classify", params={"classes": class_id}, content=self._file
            )
            self.statuses[answer.status_code] += 1
            if answer.status_code == expected:
                return time.perf_counter() - started
        return waited


def told(what: str, seconds: list[float]) -> str:
    rounded = [1000 * value for value in seconds]
    middle, longest = statistics.median(rounded), max(rounded)
    return (
        f"{what}: {len(rounded)}, known to the other after {middle:.0f} ms, at most {longest:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", default="")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--register", type=int, default=500)
    parser.add_argument("--remove", type=int, default=100)
    parser.add_argument("--bundle", type=Path, default=Path("weights/birds"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        state = Path(name)
        pictures = state / "pictures"
        pictures.mkdir()
        print(photographs.lay_out(pictures))
        files = photographs.laid_out(pictures)
        database = given.database_url or f"sqlite:///{state}/shared.db"
        urls = [
            stack.enter_context(running.service(given.bundle, database_url=database)).url
            for _ in range(2)
        ]
        first = httpx.get(f"{urls[0]}/attributes").json()["attributes"]
        over, counts = threading.Event(), list[Counter[int]]()
        clients = [
            threading.Thread(target=load, args=(urls[i % 2], files, over, counts))
            for i in range(given.clients)
        ]
        for client in clients:
            client.start()
        changes = Changes(urls, files[0])
        added, gone = [], []
        try:
            for i in range(given.register):
                sheet = {first[i % len(first)]["name"]: first[i % len(first)]["max"]}
                body = {"class_id": f"bench-{i}", "name": f"Bench {i}", "attributes": sheet}
                changes.write(i, "POST", "/classes", body)
                added.append(changes.known_after(i, f"bench-{i}", there=True))
            for i in range(given.remove):
                changes.write(i, "DELETE", f"/classes/bench-{i}")
                gone.append(changes.known_after(i, f"bench-{i}", there=False))
        finally:
            over.set()
            for client in clients:
                client.join()
    print(told("registered", added))
    print(told("removed", gone))
    classified = sum(counts, Counter())
    print(f"classified meanwhile: {dict(classified)}; for the changes: {dict(changes.statuses)}")
    failed = sum(n for status, n in (classified + changes.statuses).items() if status >= 500)
    if failed or max(added + gone) > LIMIT_S:
        sys.exit(1)


if __name__ == "__main__":
    main()
