"""Running a bundle's network."""

import os

# ONNX Runtime's builds for Linux report their use to its maker, and keep a database in the user's
# cache, unless they are told before they are imported. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
