"""The default backend: ONNX Runtime on the CPU, no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from model.bundle import Bundle, Manifest
from model.errors import BackendUnavailable, WeightsError
from model.runtime import bundle_file
from model.runtime.base import F32, U8, BackendInfo, Embedded
from model.runtime.precision import PRECISIONS, choose_precision

GRAPHS = {"fp32": "embed.onnx", "int8": "embed.int8.onnx"}
PROTOTYPES = "prototypes.onnx"

_Shape = tuple[int | None, ...]  # None: any length


class _Sessions(NamedTuple):
    """One network with as many threads as there are for a lone inference, and with the share of
    one among others: one thread each wastes least."""

    alone: Any
    beside: Any
    prototypes: Any


class OnnxBackend:
    """`model.runtime.base.Backend` over a bundle's two graphs.

    Args:
        bundle: where the graphs lie; their sha256 is checked.
        threads: of an inference that runs alone; 0 leaves the choice to ONNX Runtime.
        precision: "fp32", "int8", or "auto": int8 where the manifest shows it good enough.
        lanes: how many inferences will run side by side; they share the threads.

    Raises:
        WeightsError: a graph is missing, damaged, or not what the manifest says.
        BackendUnavailable: the bundle has no graph of this precision.
    """

    def __init__(
        self, bundle: Bundle, threads: int, precision: str = "auto", lanes: int = 1
    ) -> None:
        if precision not in PRECISIONS:
            raise BackendUnavailable(
                f"no precision is called {precision!r}; there are {', '.join(PRECISIONS)}"
            )
        has_int8 = GRAPHS["int8"] in bundle.manifest.files
        precision = choose_precision(precision, has_int8, bundle.manifest.int8)
        graph = GRAPHS[precision]
        if precision == "int8" and not has_int8:
            raise BackendUnavailable(
                f"the bundle {bundle.name} has no {graph}; use precision fp32, "
                "or write it with `umzero export --int8`"
            )
        embed = _session(bundle, graph, threads)
        beside = max(1, threads // lanes) if lanes > 1 else threads
        prototypes = _session(bundle, PROTOTYPES, 1)
        tokens = _check_embed(embed, graph, bundle.manifest)
        _check_prototypes(prototypes, bundle.manifest)
        self._sessions: _Sessions | None = _Sessions(
            alone=embed,
            beside=embed if beside == threads else _session(bundle, graph, beside),
            prototypes=prototypes,
        )
        self._info = BackendInfo(
            name="onnx",
            device="cpu",
            precision=precision,
            bundle=bundle.name,
            bundle_sha256=bundle.sha256,
            input_size=bundle.manifest.input_size,
            embedding_dim=bundle.manifest.embedding_dim,
            attribute_count=len(bundle.manifest.attributes),
            token_count=tokens,
            grid=bundle.manifest.grid,
        )

    @property
    def info(self) -> BackendInfo:
        return self._info

    def embed(self, images: U8) -> Embedded:
        return self._embed(self._open_sessions().alone, images)

    def embed_beside(self, images: U8) -> Embedded:
        """See `model.runtime.base.SharesThreads`."""
        return self._embed(self._open_sessions().beside, images)

    def _embed(self, session: Any, images: U8) -> Embedded:
        size = self._info.input_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images are {images.dtype} {images.shape}; expected uint8 (B, {size}, {size}, 3)"
            )
        return Embedded(
            *session.run(list(Embedded._fields), {"images": np.ascontiguousarray(images)})
        )

    def prototypes(self, class_attributes: F32) -> F32:
        session = self._open_sessions().prototypes
        count = self._info.attribute_count
        if class_attributes.ndim != 2 or class_attributes.shape[1] != count:
            raise ValueError(f"sheets have shape {class_attributes.shape}; expected (C, {count})")
        feed = {"class_attributes": np.ascontiguousarray(class_attributes, np.float32)}
        result: F32 = session.run(["prototypes"], feed)[0]
        return result

    def close(self) -> None:
        self._sessions = None

    def _open_sessions(self) -> _Sessions:
        if self._sessions is None:
            raise RuntimeError("the backend is closed")
        return self._sessions


def session_options(threads: int) -> Any:
    """ONNX Runtime's options as this backend sets them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Long enough to stay awake from one operator to the next, too short to starve a neighbour.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "100")
    options.log_severity_level = 3
    return options


def _session(bundle: Bundle, name: str, threads: int) -> Any:
    graph = bundle_file.content(bundle, name, "`umzero export` writes it")
    options = session_options(threads)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's errors have no public base class of their own.
    except Exception as error:
        raise WeightsError(f"ONNX Runtime can't load {bundle.path / name}: {error}") from error


def _check_embed(session: Any, graph: str, manifest: Manifest) -> int:
    """Compare the graph with the manifest; returns T."""
    size = manifest.input_size
    _check(graph, session.get_inputs(), {"images": (None, size, size, 3)})
    shapes = _check(
        graph,
        session.get_outputs(),
        {
            "embedding": (None, manifest.embedding_dim),
            "attributes": (None, len(manifest.attributes)),
            "maps": (None, None, *manifest.grid),
            "fine": (None, None, None, None),
            "coarse": (None, None, None, None),
        },
    )
    named = max(manifest.attributes.tokens) + 1
    tokens = shapes["maps"][1]
    if tokens is not None and tokens < named:
        raise WeightsError(f"{graph} has {tokens} attribute tokens, the manifest names {named}")
    return named if tokens is None else tokens


def _check_prototypes(session: Any, manifest: Manifest) -> None:
    sheets = (None, len(manifest.attributes))
    _check(PROTOTYPES, session.get_inputs(), {"class_attributes": sheets})
    _check(PROTOTYPES, session.get_outputs(), {"prototypes": (None, manifest.embedding_dim)})


def _check(graph: str, values: list[Any], expected: Mapping[str, _Shape]) -> dict[str, _Shape]:
    """The graph's own shapes, if they are what was expected."""
    shapes = {v.name: tuple(n if isinstance(n, int) else None for n in v.shape) for v in values}
    for name, shape in expected.items():
        if not _fits(shapes.get(name), shape):
            raise WeightsError(
                f"{graph} has {shapes}, the manifest needs {name} of shape {shape} "
                "(None: any length). Export the bundle again"
            )
    return shapes


def _fits(actual: _Shape | None, expected: _Shape) -> bool:
    return (
        actual is not None
        and len(actual) == len(expected)
        and all(None in (a, e) or a == e for a, e in zip(actual, expected, strict=True))
    )
