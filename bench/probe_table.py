"""What the probes found, as a part of docs/benchmarks.md."""

from typing import Any

from systems import System


def probed(title: str, found: dict[str, Any]) -> str:
    """What one system was found to do, a line for each probe."""
    return "\n".join([f"{title}:", *(f"  {name}: {told}" for name, told in found.items())])


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items())) or "-"


def markdown(probes: dict[str, Any], systems: list[System]) -> str:
    """The part of the report about `probes`, {system's name: what `probes.probe` found}."""
    rows = []
    for system in systems:
        found = probes.get(system.name)
        if found:
            rows.append("| " + " | ".join([system.title, *_cells(found)]) + " |")
    return "\n".join(
        [
            "## Treated badly",
            "",
            "Each probe meets a fresh server; `closed`: the connection ended without an answer;"
            " `none`: no answer came in time.",
            "",
            "- **Broken**: 12 clients send 88 good JPEGs and 8 that are truncated or garbage.",
            "- **Burst**: 300 requests at once. Queues hold 64 where they can be bounded.",
            "- **Abandoned**: 200 clients send a request and leave at once, in four waves; then"
            " another asks until it gets a 200, and is timed.",
            "- **SIGTERM** with 32 requests in flight, to the first process; its tree 15 s later.",
            "",
            "| | broken ones got | good ones lost | burst | 503 with Retry-After | slowest 200, s "
            "| after the abandoned, ms (idle) | SIGTERM: answers | gone after | processes left |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _cells(found: dict[str, Any]) -> list[str]:
    poison, burst, left, ended = (
        found[name] for name in ("poison", "burst", "abandoned", "termination")
    )
    failed = "failed"
    cells = [failed, failed]
    if failed not in poison:
        lost = {status: n for status, n in poison["good"].items() if status != "200"}
        cells = [_counts(poison["broken"]), _counts(lost) if lost else "0"]
    if failed in burst:
        cells += [failed, "", ""]
    else:
        refused = burst["statuses"].get("503", 0)
        retry = f"{burst['retry_after']} of {refused}" if refused else "-"
        cells += [_counts(burst["statuses"]), retry, _seconds(burst["slowest_200_s"])]
    if failed in left:
        cells.append(failed)
    else:
        status = "" if left["status"] == "200" else f"{left['status']}: "
        refused = f", {left['refused']} refused" if left["refused"] else ""
        cells.append(f"{status}{left['after_ms']:.0f} ({left['idle_ms']:.0f}){refused}")
    if failed in ended:
        cells += [failed, "", ""]
    else:
        gone = "not in 15 s" if ended["gone_s"] is None else f"{_seconds(ended['gone_s'])} s"
        cells += [_counts(ended["statuses"]), gone, str(ended["left"])]
    return cells


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
