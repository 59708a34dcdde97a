"""UMZero beside other ways to serve the same bundle, and beside the limit of no service at all.

    make bench [ARGS='--rounds 5 --seconds 4 --only umzero mosec --concurrency 1 8 32']

Each round starts the systems in turn, in another order each time, and loads each from another
process. The in-process limit is measured before and after each; where the two differ by more than
15 %, something else was using the machine and the values between them are dropped. The raw values
go to --results after each round, and the report to --report and --picture.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import limit
import photographs
import picture
import probe_table
import probes
import table
from environments import ROOT, SHARED, NotInstalled, prepare, versions
from load import WARM_UP_S
from server import Failed, Server, served
from systems import SYSTEMS, System

DRIFT = 0.15


class Bench:
    """One run: what it was given, and what it has found so far."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self._given = given
        self._folder = folder
        self.results: dict[str, Any] = {"photographs": photographs.lay_out(folder), "rounds": []}
        self.jpeg = photographs.laid_out(folder)[0]
        self.pythons: dict[str, Path] = {}

    def install(self, systems: list[System]) -> list[System]:
        """Those that can be installed here; the others are noted."""
        own = prepare("umzero")
        self.results["versions"] = versions(own, SHARED)
        missing = self.results["missing"] = {}
        for system in systems:
            try:
                self.pythons[system.name] = prepare(system.name)
            except NotInstalled as error:
                missing[system.name] = str(error)
                print(f"{system.title} can't be installed: {error}")
                continue
            found = versions(self.pythons[system.name], (system.package,))
            self.results["versions"] |= found
        self.pythons["limit"] = own
        return [system for system in systems if system.name not in missing]

    def limits(self) -> dict[str, dict[str, float]]:
        given = self.pythons["limit"], self._folder, self._given.bundle, self._given.seconds
        return {"alone": limit.alone(*given), "together": limit.together(*given)}

    def measure(self, system: System) -> dict[str, Any]:
        """One system: started, loaded at each concurrency, ended."""
        python = self.pythons[system.name]
        with served(system, python, self.jpeg, self._given.bundle) as server:
            points = {str(n): self._point(system, server, n) for n in self._given.concurrency}
            if system.name == "umzero" and "32" in points:
                points["32"]["livez_ms"] = self._livez(server, 32)
            return {
                "startup_s": server.startup_s,
                "classes": server.classes,
                "pss_mib": server.tree.pss_mib(),
                "points": points,
            }

    def _point(self, system: System, server: Server, clients: int) -> dict[str, Any]:
        server.tree.alive()  # so that its processes are known before the clock runs
        with subprocess.Popen(
            self._load(server, clients), stdout=subprocess.PIPE, text=True
        ) as loading:
            assert loading.stdout is not None
            loading.stdout.readline()  # the window opens
            before = server.tree.cpu_s()
            loading.stdout.readline()  # and closes
            cpu_s = server.tree.cpu_s() - before
            text = loading.stdout.read()
        if loading.returncode:
            raise Failed(f"{system.title} could not be loaded by {clients} clients")
        told = json.loads(text)
        latencies = sorted(told["latencies_ms"])
        good = len(latencies)
        point = {
            "per_s": good / told["seconds"],
            "statuses": told["statuses"],
            "cpu_ms": cpu_s / good * 1e3 if good else None,
            "generator_cpu_share": told["generator_cpu_s"] / told["seconds"],
        }
        for percent in (50, 95, 99):
            point[f"p{percent}_ms"] = table.percentile(latencies, percent)
        return point

    def _livez(self, server: Server, clients: int) -> Any:
        """How long `/livez` takes under load: a load of its own, for asking costs time, too."""
        words = self._load(server, clients)
        at = words.index("--clients")
        ping = [*words[:at], "--get", "/livez"]
        with (
            subprocess.Popen(words, stdout=subprocess.DEVNULL),
            subprocess.Popen(ping, stdout=subprocess.PIPE, text=True) as pinging,
        ):
            return json.loads(pinging.communicate()[0])

    def _load(self, server: Server, clients: int) -> list[str]:
        return [
            *(sys.executable, str(ROOT / "bench" / "load.py"), str(server.port)),
            *("--seconds", str(self._given.seconds)),
            *("--clients", str(clients), "--photographs", str(self._folder)),
        ]

    def save(self) -> None:
        self._given.results.write_text(json.dumps(self.results, indent=1) + "\n")


def drifted(before: dict[str, Any], after: dict[str, Any], kind: str) -> bool:
    """Whether two limits are so far apart that nothing between them counts."""
    low, high = sorted((before[kind]["per_s"], after[kind]["per_s"]))
    return high / low - 1 > DRIFT


def rounds(bench: Bench, systems: list[System], given: argparse.Namespace) -> None:
    started = time.monotonic()
    before = bench.limits()
    for number in range(given.rounds):
        turn = number % len(systems)
        for system in systems[turn:] + systems[:turn]:
            entry: dict[str, Any] = {"round": number, "system": system.name, "before": before}
            try:
                entry |= bench.measure(system)
            except Failed as error:
                entry["failed"] = str(error)
            before = entry["after"] = bench.limits()
            entry["dropped"] = [kind for kind in before if drifted(entry["before"], before, kind)]
            bench.results["rounds"].append(entry)
            print(table.progress(entry), flush=True)
        bench.save()
        spent = (time.monotonic() - started) / 60
        left = spent / (number + 1) * (given.rounds - number - 1)
        print(f"round {number + 1} of {given.rounds}; about {left:.0f} minutes left", flush=True)
    check_answers(bench.results["rounds"])


def check_answers(entries: list[dict[str, Any]]) -> None:
    """All systems gave the same five classes, or the comparison means nothing."""
    answers = {entry["system"]: entry["classes"] for entry in entries if "classes" in entry}
    if len({tuple(classes) for classes in answers.values()}) > 1:
        raise SystemExit(f"the systems don't answer the same: {answers}")


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in info.splitlines() if "model name" in line]
    return {
        "cpus": limit.CPUS,
        "cpu": names[0] if names else platform.processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--bundle", type=Path, default=ROOT / "weights" / "birds")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results.json")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "benchmarks.svg")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--probes", action="store_true", help="the probes, and no load")
    only.add_argument("--no-probes", action="store_true", help="the load, and no probes")
    only.add_argument("--report-only", action="store_true", help="write the report again")
    given = parser.parse_args()
    given.bundle = given.bundle.resolve()
    return given


def report(results: dict[str, Any], given: argparse.Namespace) -> None:
    text = table.markdown(results)
    given.report.write_text(text)
    if results["rounds"]:
        picture.draw(results, given.picture)
    print("\n" + text)


def main() -> None:
    given = parsed()
    if given.report_only:
        report(json.loads(given.results.read_text()), given)
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given, Path(folder))
        systems = bench.install([system for system in SYSTEMS if system.name in given.only])
        bench.results |= {
            "machine": machine(),
            "date": time.strftime("%Y-%m-%d"),
            "command": " ".join(["python bench/run.py", *sys.argv[1:]]),
            "seconds": given.seconds,
            "concurrency": given.concurrency,
            "generator": {"warm_up_s": WARM_UP_S},
        }
        if given.probes:
            if given.results.exists():
                bench.results = json.loads(given.results.read_text()) | {
                    "missing": bench.results["missing"]
                }
        else:
            rounds(bench, systems, given)
        if not given.no_probes:
            for system in systems:
                found = probes.probe(system, bench.pythons[system.name], Path(folder), given.bundle)
                bench.results.setdefault("probes", {})[system.name] = found
                print(probe_table.probed(system.title, found), flush=True)
        bench.save()
        report(bench.results, given)


if __name__ == "__main__":
    main()
