"""A network as graphs for ONNX Runtime."""

import model.runtime  # noqa: F401 - before ONNX Runtime is imported, it turns its telemetry off
