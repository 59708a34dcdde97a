"""What is compared, and how each is configured."""

from dataclasses import dataclass

from environments import ROOT
from limit import CPUS

PEERS = ROOT / "bench" / "peers"


@dataclass(frozen=True)
class System:
    """One way to serve the bundle."""

    name: str  # of its environment
    title: str
    package: str  # whose version the table shows
    plan: str  # how it is configured, in words
    command: tuple[str, ...]  # {bin}, {port}, {state} and {bundle} are filled in


def _peer(name: str, title: str, package: str, plan: str) -> System:
    return System(name, title, package, plan, ("{bin}/python", str(PEERS / f"{name}_app.py")))


_BATCHED = f"{CPUS} workers of 1 thread, batches of up to 8"
_UMZERO = "{bin}/umzero serve --bundle {bundle} --port {port} --state-dir {state}"
_BENTOML = "{bin}/bentoml serve bentoml_app:classify --host 127.0.0.1 --port {port} --working-dir"
SYSTEMS = (
    System("umzero", "UMZero", "umzero", "`umzero serve`, as it comes", tuple(_UMZERO.split())),
    _peer("litserve", "LitServe", "litserve", _BATCHED),
    System(
        "bentoml",
        "BentoML",
        "bentoml",
        f"{CPUS} workers of 1 thread, without batches",
        (*_BENTOML.split(), str(PEERS)),
    ),
    _peer("ray", "Ray Serve", "ray", _BATCHED),
    _peer("mosec", "mosec", "mosec", _BATCHED),
    _peer("naive", "FastAPI alone", "fastapi", f"a thread pool, one session of {CPUS} threads"),
)
