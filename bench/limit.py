"""The in-process limit: decoding and inference in a plain loop, with nothing around them.

`measure` starts one or several processes of this file, which begin together.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

CPUS = len(os.sched_getaffinity(0))
WARM_UP = 10  # images


def alone(python: Path, photographs: Path, bundle: Path, seconds: float) -> dict[str, float]:
    """What one client can get at most: one process whose session has a thread for each CPU."""
    return _measure(python, photographs, bundle, seconds, 1, CPUS)


def together(python: Path, photographs: Path, bundle: Path, seconds: float) -> dict[str, float]:
    """What many clients can get at most: a process for each CPU, with one thread."""
    return _measure(python, photographs, bundle, seconds, CPUS, 1)


def _measure(
    python: Path, photographs: Path, bundle: Path, seconds: float, processes: int, threads: int
) -> dict[str, float]:
    """Images a second of all processes, and CPU ms of one image."""
    words = [python, __file__, photographs, bundle, seconds, threads]
    children = [
        subprocess.Popen(
            list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        told = [json.loads(child.communicate()[0]) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    images = sum(item["images"] for item in told)
    return {
        "per_s": sum(item["images"] / item["seconds"] for item in told),
        "cpu_ms": sum(item["cpu_s"] for item in told) / images * 1e3,
    }


def main() -> None:
    # Only a child has the project installed.
    from model import bundle as bundles  # noqa: PLC0415
    from model.preprocess import to_input  # noqa: PLC0415
    from model.runtime.load import load  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    bundle = bundles.read(given.bundle)
    backend = load(bundle, "cpu", "auto", given.threads)
    files = [path.read_bytes() for path in sorted(given.photographs.glob("*.jpg"))]

    def one(number: int) -> None:
        pixels = to_input(files[number % len(files)], bundle.manifest.input_size, 50_000_000)
        backend.embed(pixels[None])

    for number in range(WARM_UP):
        one(number)
    print("ready", flush=True)
    input()
    images, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < given.seconds:
        one(images)
        images += 1
    cpu_s, seconds = time.process_time() - cpu, time.perf_counter() - started
    print(json.dumps({"images": images, "seconds": seconds, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
