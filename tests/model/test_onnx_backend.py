"""The ONNX backend and the choice of a backend, over tiny graphs whose answers are known."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import BackendUnavailable, WeightsError
from model.runtime.fake import write_fake_bundle
from model.runtime.load import load
from model.runtime.onnx_backend import OnnxBackend

onnx = pytest.importorskip("onnx", reason="needs the package onnx to build graphs")

SIZE, ATTRIBUTES, TOKENS, DIM = 6, 9, 3, 10
RANDOM = np.random.default_rng(0)
READ = RANDOM.normal(size=(3, ATTRIBUTES)).astype(np.float32)  # mean colour -> attributes
PROJECT = RANDOM.normal(size=(ATTRIBUTES, DIM)).astype(np.float32)
GRID = (2, 2)


def graph(name: str, inputs: list, outputs: list, nodes: list, constants: dict) -> bytes:
    initializers = [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
    built = onnx.helper.make_graph(nodes, name, inputs, outputs, initializers)
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(built, opset_imports=[opset], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def embed_graph(size: int = SIZE, dim: int = DIM, tokens: int | str = TOKENS) -> bytes:
    """Mean colour -> attributes -> embedding; constant maps, colours as the CNN's maps."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    return graph(
        "embed",
        [value("images", kinds.UINT8, ["B", size, size, 3])],
        [
            # Not in the order of Embedded: outputs are found by name.
            value("maps", kinds.FLOAT, ["B", tokens, *GRID]),
            value("attributes", kinds.FLOAT, ["B", ATTRIBUTES]),
            value("embedding", kinds.FLOAT, ["B", dim]),
            value("coarse", kinds.FLOAT, ["B", size, size, 3]),
            value("fine", kinds.FLOAT, ["B", size, size, 3]),
        ],
        [
            node("Cast", ["images"], ["pixels"], to=kinds.FLOAT),
            node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
            node("Identity", ["pixels"], ["fine"]),
            node("Neg", ["pixels"], ["coarse"]),
            node("MatMul", ["colour", "read"], ["attributes"]),
            node("MatMul", ["attributes", "project"], ["raw"]),
            node("LpNormalization", ["raw"], ["embedding"], axis=-1, p=2),
            node("Shape", ["images"], ["batch"], start=0, end=1),
            node("Concat", ["batch", "rest"], ["shape"], axis=0),
            node("Expand", ["quarter", "shape"], ["maps"]),
        ],
        {
            "axes": np.array([1, 2]),
            "read": READ,
            "project": PROJECT[:, :dim],
            "rest": np.array([TOKENS, *GRID]),
            "quarter": np.array(0.25, np.float32),
        },
    )


def prototypes_graph(attributes: int = ATTRIBUTES) -> bytes:
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    return graph(
        "prototypes",
        [value("class_attributes", kind, ["C", attributes])],
        [value("prototypes", kind, ["C", DIM])],
        [
            node("MatMul", ["class_attributes", "project"], ["raw"]),
            node("LpNormalization", ["raw"], ["prototypes"], axis=-1, p=2),
        ],
        {"project": PROJECT[:attributes]},
    )


WriteBundle = Callable[..., Bundle]


@pytest.fixture
def write(tmp_path: Path) -> WriteBundle:
    def written(**files: bytes) -> Bundle:
        """A bundle with these graphs; `embed_int8` is embed.int8.onnx."""
        graphs = {"embed": embed_graph(), "prototypes": prototypes_graph()} | files
        path = tmp_path / "tiny"
        fake = write_fake_bundle(path, input_size=SIZE)
        for name, content in graphs.items():
            (path / f"{name.replace('_', '.')}.onnx").write_bytes(content)
        return bundles.write(path, replace(fake.manifest, grid=GRID), fake.classes)

    return written


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 5])
def test_it_computes_what_the_graphs_say(write: WriteBundle, count: int) -> None:
    backend = OnnxBackend(write(), threads=1)
    batch = images(count)
    embedded = backend.embed(batch)
    attributes = batch.astype(np.float64).mean(axis=(1, 2)) @ READ
    np.testing.assert_allclose(embedded.attributes, attributes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(embedded.embedding, unit(attributes @ PROJECT), atol=1e-5)
    assert embedded.maps.shape == (count, TOKENS, *GRID)
    sheets = np.random.default_rng(1).uniform(0, 100, (count, ATTRIBUTES)).astype(np.float32)
    np.testing.assert_allclose(backend.prototypes(sheets), unit(sheets @ PROJECT), atol=1e-5)


def test_it_says_what_it_runs(write: WriteBundle) -> None:
    bundle = write()
    info = OnnxBackend(bundle, threads=1).info
    assert (info.name, info.device, info.precision) == ("onnx", "cpu", "fp32")
    assert (info.bundle, info.bundle_sha256) == ("tiny", bundle.sha256)
    assert (info.input_size, info.embedding_dim, info.attribute_count) == (SIZE, DIM, ATTRIBUTES)
    assert (info.token_count, info.grid) == (TOKENS, GRID)


def test_a_graph_that_keeps_its_tokens_to_itself_has_those_of_the_manifest(
    write: WriteBundle,
) -> None:
    bundle = write(embed=embed_graph(tokens="T"))
    assert OnnxBackend(bundle, threads=1).info.token_count == TOKENS


def test_images_and_sheets_need_not_be_contiguous(write: WriteBundle) -> None:
    backend = OnnxBackend(write(), threads=1)
    batch = images(4)
    mirrored = backend.embed(batch[::-1, :, ::-1])
    expected = backend.embed(batch).embedding[::-1]
    np.testing.assert_allclose(mirrored.embedding, expected, atol=1e-5)
    sheets = np.arange(2 * ATTRIBUTES, dtype=np.float64).reshape(ATTRIBUTES, 2).T
    np.testing.assert_allclose(backend.prototypes(sheets), unit(sheets @ PROJECT), atol=1e-5)


def test_many_threads_get_their_own_answers(write: WriteBundle) -> None:
    backend = OnnxBackend(write(), threads=1)
    batches = [images(count) for count in range(1, 9)] * 4
    expected = [backend.embed(batch).embedding for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda batch: backend.embed(batch).embedding, batches))
    for answer, known in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, known, atol=1e-6)


@pytest.mark.parametrize(
    ("threads", "lanes", "expected"),
    [
        (4, 2, [4, 2, 1]),
        (0, 2, [0, 1, 1]),
        (1, 2, [1, 1, 1]),
        (4, 1, [4, 4, 1]),
        (0, 1, [0, 0, 1]),
    ],
)
def test_a_lone_inference_has_all_threads_and_those_side_by_side_share_them(
    write: WriteBundle,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    lanes: int,
    expected: list[int],
) -> None:
    real = onnxruntime.InferenceSession
    built: list[int] = []
    ran: list[int] = []

    class Session:
        def __init__(self, content: bytes, options: onnxruntime.SessionOptions, **rest: object):
            self._session = real(content, options, **rest)
            self._threads = options.intra_op_num_threads
            built.append(self._threads)

        def run(self, names: list[str], feed: dict) -> object:
            ran.append(self._threads)
            return self._session.run(names, feed)

        def __getattr__(self, name: str) -> object:
            return getattr(self._session, name)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    backend = OnnxBackend(write(), threads=threads, lanes=lanes)
    images = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    backend.embed(images)
    backend.embed_beside(images)
    backend.prototypes(np.zeros((1, ATTRIBUTES), np.float32))
    assert ran == expected
    # The network once for each share of the threads, and the prototypes.
    assert len(built) == len(set(expected[:2])) + 1


def test_threads_hardly_spin(write: WriteBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = onnxruntime.InferenceSession

    def session(content: bytes, options: onnxruntime.SessionOptions, **rest: object) -> object:
        asked.append(options.get_session_config_entry("session.intra_op.spin_duration_us"))
        return real(content, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    OnnxBackend(write(), threads=2)
    assert set(map(int, asked)) == {100}


def test_int8_runs_its_own_graph_and_only_where_there_is_one(write: WriteBundle) -> None:
    with pytest.raises(BackendUnavailable, match=r"no embed\.int8\.onnx; use precision fp32"):
        OnnxBackend(write(), threads=1, precision="int8")
    bundle = write(embed_int8=embed_graph(), embed=b"never opened")
    backend = OnnxBackend(bundle, threads=1, precision="int8")
    assert backend.info.precision == "int8"
    assert len(backend.embed(images(2)).embedding) == 2


def test_auto_runs_int8_where_the_manifest_shows_it_good_enough(write: WriteBundle) -> None:
    bundle = write(embed_int8=embed_graph())
    assert OnnxBackend(bundle, threads=1).info.precision == "fp32"
    scores = dict.fromkeys(("czsl", "u", "s", "h"), 0.8)
    int8 = {"validation": {"fp32": scores, "int8": scores, "agreement": 0.99}}
    bundle = bundles.write(bundle.path, replace(bundle.manifest, int8=int8), bundle.classes)
    assert OnnxBackend(bundle, threads=1).info.precision == "int8"
    assert OnnxBackend(bundle, threads=1, precision="fp32").info.precision == "fp32"


def test_an_unknown_precision_is_refused(write: WriteBundle) -> None:
    with pytest.raises(BackendUnavailable, match="there are auto, fp32, int8"):
        OnnxBackend(write(), threads=1, precision="fp8")


@pytest.mark.parametrize("name", ["embed.onnx", "prototypes.onnx"])
def test_a_changed_graph_is_refused(write: WriteBundle, name: str) -> None:
    bundle = write()
    content = (bundle.path / name).read_bytes()
    (bundle.path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match="sha256"):
        OnnxBackend(bundle, threads=1)


@pytest.mark.parametrize("name", ["embed.onnx", "prototypes.onnx"])
def test_a_missing_graph_is_refused(write: WriteBundle, name: str) -> None:
    bundle = write()
    (bundle.path / name).unlink()
    with pytest.raises(WeightsError, match="can't be read"):
        OnnxBackend(bundle, threads=1)


def test_a_bundle_without_graphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"embed\.onnx can't be read"):
        OnnxBackend(write_fake_bundle(tmp_path / "tiny"), threads=1)


def test_a_file_that_is_no_graph_is_refused(write: WriteBundle) -> None:
    with pytest.raises(WeightsError, match="ONNX Runtime can't load"):
        OnnxBackend(write(embed=b"not a graph"), threads=1)


@pytest.mark.parametrize(
    ("name", "build", "words"),
    [
        ("embed", lambda: embed_graph(size=SIZE + 1), "needs images"),
        ("embed", lambda: embed_graph(dim=DIM - 1), "needs embedding"),
        ("embed", prototypes_graph, "needs images"),
        ("prototypes", lambda: prototypes_graph(ATTRIBUTES - 1), "needs class_attributes"),
    ],
)
def test_a_graph_of_another_bundle_is_refused(
    write: WriteBundle, name: str, build: Callable[[], bytes], words: str
) -> None:
    with pytest.raises(WeightsError, match=words):
        OnnxBackend(write(**{name: build()}), threads=1)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((1, SIZE, SIZE, 3), np.float32),
    ],
)
def test_images_of_another_shape_are_refused(write: WriteBundle, batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(B, 6, 6, 3\)"):
        OnnxBackend(write(), threads=1).embed(batch)


@pytest.mark.parametrize("shape", [(ATTRIBUTES,), (2, ATTRIBUTES + 1)])
def test_sheets_of_another_shape_are_refused(write: WriteBundle, shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"expected \(C, 9\)"):
        OnnxBackend(write(), threads=1).prototypes(np.zeros(shape, np.float32))


def test_a_closed_backend_says_so(write: WriteBundle) -> None:
    backend = OnnxBackend(write(), threads=1)
    backend.close()
    backend.close()
    with pytest.raises(RuntimeError, match="closed"):
        backend.embed(images(1))


@pytest.mark.parametrize("kind", ["auto", "onnx"])
def test_a_cpu_gets_onnx_runtime(write: WriteBundle, kind: str) -> None:
    assert isinstance(load(write(), "cpu", "auto", 1, kind), OnnxBackend)


@pytest.mark.parametrize(
    ("device", "precision", "kind", "words"),
    [
        ("cpu", "auto", "tensorflow", "there are auto, onnx, torch"),
        ("tpu", "auto", "auto", "neither cpu nor cuda"),
        ("cuda", "auto", "onnx", "use backend torch"),
        ("cpu", "fp8", "auto", "there are auto, fp32, int8"),
    ],
)
def test_what_can_not_run_here_is_refused_in_words(
    write: WriteBundle, device: str, precision: str, kind: str, words: str
) -> None:
    with pytest.raises(BackendUnavailable, match=words):
        load(write(), device, precision, 1, kind)


@pytest.mark.parametrize(("device", "kind"), [("cpu", "torch"), ("cuda:0", "auto")])
def test_without_torch_its_backend_says_what_to_install(
    write: WriteBundle, monkeypatch: pytest.MonkeyPatch, device: str, kind: str
) -> None:
    monkeypatch.delitem(sys.modules, "model.runtime.torch_backend", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` an ImportError
    with pytest.raises(BackendUnavailable, match=r"pip install 'umzero\[train\]'"):
        load(write(), device, "auto", 1, kind)


def test_loading_onnx_runtime_leaves_torch_out(write: WriteBundle) -> None:
    program = (
        "import sys; from model import bundle; from model.runtime.load import load;"
        f"load(bundle.read({str(write().path)!r}), 'cpu', 'auto', 1);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("module", ["model.runtime.onnx_backend", "model.export.parity"])
def test_onnx_runtime_reports_to_nobody(module: str, tmp_path: Path) -> None:
    # What it would report it keeps in the user's cache first.
    graph = Path(__file__).parents[2] / "weights/birds/prototypes.onnx"
    load = f"onnxruntime.InferenceSession({str(graph)!r})"
    code = f"import {module}, onnxruntime; {load}"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
