"""What several processes change of a training: the scores of validation classes, and the time.

    python bench/training.py --data ../shared/data/birds [--runs runs] [--seed 0]
    torchrun --standalone --nproc-per-node 2 bench/training.py --data ../shared/data/birds

The first half of `umzero train birds`: features, read from the caches below `--runs` as far as they
are there, then MIM's training without the validation classes, anew. No class of the test sets is
scored.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from model.commands.common import bar
from model.data.read import read
from model.training.features import extract
from model.training.heads import fresh_network
from model.training.memory import keep_freed_memory
from model.training.processes import launched
from model.training.recipes import recipe
from model.training.selection import choose
from model.training.training_run import attribute_space


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    processes = launched()
    console = Console(quiet=not processes.is_main, width=120)
    keep_freed_memory()
    config, data = recipe("birds", given.seed), read(given.data)
    space = attribute_space(data)
    console.print(
        f"{processes.count} processes, each with {torch.get_num_threads()} threads on "
        f"{processes.device.type}"
    )

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        processes.wait()
        console.print(f"{what}: {time.perf_counter() - started:.0f} s")

    with timed("features"), bar(console)("features") as progress:
        network = fresh_network(config.model, space, len(data.seen), config.seed)
        store = extract(network, data, given.runs, progress, processes)
    trained = len(data.seen) - len(data.validation)
    network = fresh_network(config.model, space, trained, config.seed)
    with timed("choice"), tempfile.TemporaryDirectory() as folder:
        choice = choose(
            network, data, store, config, Path(folder), console.print, processes=processes
        )
    console.print(f"chosen: {choice}, after {choice.epochs} epochs")


if __name__ == "__main__":
    main()
