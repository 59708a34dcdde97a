"""`/livez`, `/readyz`, `/startupz` and `/metrics`."""

from service.http.examples.words import Example


def of_health() -> dict[str, Example]:
    metrics = (
        "# HELP umzero_ready 1 once the service answers.\n# TYPE umzero_ready gauge\n"
        "umzero_ready 1.0\n# EOF\n"
    )
    return {
        "livez": Example(answers={"alive": {"status": "alive"}}),
        "readyz": Example(answers={"ready": {"status": "ready"}}),
        "startupz": Example(answers={"started": {"status": "started"}}),
        "metrics": Example(answers={"one of them": metrics}),
    }
