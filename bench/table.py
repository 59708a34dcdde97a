"""Raw results -> docs/benchmarks.md, and the lines that show progress."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import probe_table
from systems import SYSTEMS, System

LIMIT = "In-process limit"


def percentile(ordered: list[float], percent: float) -> float | None:
    """The nearest-rank percentile of ascending values; None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def kind_of_limit(clients: int) -> str:
    """The limit that a load is compared with: of `limit.alone` or `limit.together`."""
    return "alone" if clients == 1 else "together"


def counted(results: dict[str, Any], name: str, clients: int) -> list[tuple[Any, float, float]]:
    """The points of one system that count: point, limit's images a second, limit's CPU ms."""
    kind = kind_of_limit(clients)
    found = []
    for entry in results["rounds"]:
        if entry["system"] != name or "failed" in entry or kind in entry["dropped"]:
            continue
        both = entry["before"][kind], entry["after"][kind]
        rate = statistics.mean(item["per_s"] for item in both)
        cpu_ms = statistics.mean(item["cpu_ms"] for item in both)
        found.append((entry["points"][str(clients)], rate, cpu_ms))
    return found


def ratios(results: dict[str, Any], name: str, clients: int) -> list[float]:
    """Requests a second over the limit's images a second, of each round that counts."""
    return [point["per_s"] / rate for point, rate, _ in counted(results, name, clients)]


def shown(values: list[float | None], form: str = ".1f", spread: bool = True) -> str:
    """The median, and the lowest and highest where there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = format(statistics.median(known), form)
    if not spread or len(known) == 1:
        return middle
    return f"{middle} ({min(known):{form}} to {max(known):{form}})"


def progress(entry: dict[str, Any]) -> str:
    """One system of one round, on one line."""
    if "failed" in entry:
        return f"{entry['system']:9} {entry['failed']}"
    cells = [
        f"c={clients}: {point['per_s']:.1f}/s "
        f"({point['per_s'] / entry['before'][kind_of_limit(int(clients))]['per_s']:.2f})"
        for clients, point in entry["points"].items()
    ]
    dropped = f"  dropped: {', '.join(entry['dropped'])}" if entry["dropped"] else ""
    return f"{entry['system']:9} " + "  ".join(cells) + dropped


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    tried = {entry["system"] for entry in results["rounds"]} | set(results.get("probes", {}))
    systems = [s for s in SYSTEMS if s.name in tried or s.name in results["missing"]]
    parts = [_opening(results, systems)]
    if results["rounds"]:
        parts += [_load(results, systems, clients) for clients in results["concurrency"]]
        parts.append(_footprint(results, systems))
    if results.get("probes"):
        parts.append(probe_table.markdown(results["probes"], systems))
    return "\n\n".join(parts) + "\n"


def _opening(results: dict[str, Any], systems: list[System]) -> str:
    machine, found = results["machine"], results["versions"]
    rounds = len({entry["round"] for entry in results["rounds"]})
    shared = ", ".join(f"{name} {found[name]}" for name in ("onnxruntime", "numpy", "pillow"))
    plans = [
        f"| {s.title} | {found.get(s.package, '-')} | {results['missing'].get(s.name) or s.plan} |"
        for s in systems
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`; don't edit it. The raw values are in `bench/results.json`.",
            "",
            f"- {machine['cpu']}, {machine['cpus']} CPUs, {machine['system']}, "
            f"Python {machine['python']}, {shared}; {results['date']}.",
            f"- `{results['command']}`: {rounds} rounds, {results['seconds']:g} s a point after "
            f"{results['generator']['warm_up_s']:g} s of warm-up.",
            f"- {results['photographs']}; every client cycles through them, on one connection.",
            "- The limit is the same decoding and inference in a plain loop, without HTTP, measured"
            " before and after each system: for one client one process with a thread a CPU, for"
            " more a process a CPU. It takes one image at a time; batches can beat it."
            " A point between two limits more than 15 % apart is dropped.",
            "- All serve the same bundle with the same decoding and ONNX Runtime session, and give"
            " the same five classes; UMZero's answer holds attributes and timings besides.",
            "- The load comes from another process on the same CPUs; its share of one is in the"
            " tables. Values are medians of the rounds, with the lowest and highest in brackets.",
            "",
            "| system | version | plan |",
            "|---|---|---|",
            *plans,
        ]
    )


def _load(results: dict[str, Any], systems: list[System], clients: int) -> str:
    kind = kind_of_limit(clients)
    limits = [entry[side][kind] for entry in results["rounds"] for side in ("before", "after")]
    rows = [
        f"| *{LIMIT}* | {shown([x['per_s'] for x in limits])} | 1 | | | | "
        f"{shown([x['cpu_ms'] for x in limits])} | 1 | | | |"
    ]
    livez: list[float] = []
    for system in systems:
        mine = [entry for entry in results["rounds"] if entry["system"] == system.name]
        points = counted(results, system.name, clients)
        rows.append(_row(system, results, mine, points, clients))
        for point, _, _ in points:
            livez += point.get("livez_ms", {}).get("latencies_ms", [])
    lines = [
        f"## {clients} client{'s' * (clients > 1)}",
        "",
        "| | req/s | of the limit | p50 ms | p95 ms | p99 ms | CPU ms a request | of the limit's "
        "| not 200 | generator's CPU | rounds (dropped) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    if livez:
        livez.sort()
        lines += [
            "",
            f"`GET /livez` of UMZero during this load, asked for every 50 ms from another process: "
            f"p50 {percentile(livez, 50):.1f} ms, p99 {percentile(livez, 99):.1f} ms, "
            f"{len(livez)} answers.",
        ]
    return "\n".join(lines)


def _row(
    system: System,
    results: dict[str, Any],
    mine: list[dict[str, Any]],
    points: list[tuple[Any, float, float]],
    clients: int,
) -> str:
    if system.name in results["missing"]:
        return f"| {system.title} | not installed | | | | | | | | | |"
    failed = sum("failed" in entry for entry in mine)
    dropped = sum(kind_of_limit(clients) in entry["dropped"] for entry in mine)
    count = f"{len(points)} ({dropped})" + (f", {failed} failed" if failed else "")
    if not points:
        return f"| {system.title} | - | | | | | | | | | {count} |"
    other = sum(
        number
        for point, _, _ in points
        for status, number in point["statuses"].items()
        if status != "200"
    )
    read: Callable[[str], list[float | None]] = lambda key: [p[key] for p, _, _ in points]  # noqa: E731
    cells = [
        system.title,
        shown(read("per_s")),
        shown(list(ratios(results, system.name, clients)), ".2f"),
        shown(read("p50_ms")),
        shown(read("p95_ms")),
        shown(read("p99_ms")),
        shown(read("cpu_ms")),
        shown([p["cpu_ms"] / cpu for p, _, cpu in points if p["cpu_ms"]], ".2f"),
        str(other),
        shown(read("generator_cpu_share"), ".1%", spread=False),
        count,
    ]
    return "| " + " | ".join(cells) + " |"


def _footprint(results: dict[str, Any], systems: list[System]) -> str:
    rows = []
    for system in systems:
        mine = [e for e in results["rounds"] if e["system"] == system.name and "failed" not in e]
        memory, start = ([e[key] for e in mine] for key in ("pss_mib", "startup_s"))
        rows.append(f"| {system.title} | {shown(memory, '.0f')} | {shown(start)} |")
    return "\n".join(
        [
            "## Memory and start",
            "",
            "Memory is the sum of PSS over all processes of the server, after the load; start-up is"
            " from the command to the first good answer.",
            "",
            "| | memory, MiB | start-up, s |",
            "|---|---|---|",
            *rows,
        ]
    )
