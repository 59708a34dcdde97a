"""Every metric of the service, as it shows itself to Prometheus."""

from prometheus_client.parser import text_string_to_metric_families

from docs.generate.markdown import code, table
from service.engine.plan import Plan
from service.metrics import Metrics
from service.readings import Reading

_OWN = {"le"}  # of histograms


def page() -> str:
    rows = [
        (code(name), kind, ", ".join(map(code, labels)), told)
        for name, kind, labels, told in metrics()
    ]
    return "\n".join(
        (
            "# Metrics\n",
            "What `GET /metrics` tells. A histogram has three series: `..._bucket`, `..._sum` and "
            "`..._count`. Labels never hold a class, an id or a path that a client chose. "
            "[How to watch them](../how-to/prometheus.md).\n",
            table(("metric", "kind", "labels", ""), rows),
        )
    )


def metrics() -> list[tuple[str, str, list[str], str]]:
    """Name, kind, labels and meaning of each, in the order of the exposition."""
    found = []
    for family in text_string_to_metric_families(_exposition()):
        labels = {label for sample in family.samples for label in sample.labels} - _OWN
        name = family.name + ("_total" if family.type == "counter" else "")
        found.append((name, family.type, sorted(labels), family.documentation))
    return found


def _exposition() -> str:
    """Of a process where everything has happened once: a label shows only then."""
    seen = Metrics()
    seen.describe("", "", "", "")
    seen.watch(lambda: Reading(True, 0, 0, Plan(1, 1, 1), 0, 0, 0))
    seen.request_ended("", "", 200, 0.0)
    seen.request_rejected("")
    seen.swap_ended("")
    return seen.exposition().decode()
