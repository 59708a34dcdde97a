"""`umzero train folder` on drawn images, in processes of its own, killed as a machine would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model.errors import BackendUnavailable
from umzero.classifier import Classifier

UMZERO = (sys.executable, "-m", "umzero.cli")


def umzero(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UMZERO, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )


def train(data: Path, *more: str) -> list[str]:
    words = ["train", "folder", "--data", str(data), "--out", "weights/shapes"]
    # With early stop, so that it is killed and resumed like the rest.
    return [*words, "--patience", "1", *more]


@pytest.fixture(scope="module")
def trained(shapes_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed three times, then left alone."""
    folder = tmp_path_factory.mktemp("command")
    command = [*UMZERO, *train(shapes_dir)]
    markers = ("features-*/progress.json", "*/validation.safetensors", "*/final.safetensors")
    for marker in markers:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while process.poll() is None and not list((folder / "runs").glob(marker)):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert not (folder / "weights").exists()
    result = umzero(*command[len(UMZERO) :], folder=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_killed_run_goes_on_to_a_bundle_that_verifies(trained: Path) -> None:
    result = umzero("verify", "weights/shapes", folder=trained)
    assert result.returncode == 0, result.stderr
    assert "as the manifest says" in result.stdout


def test_a_fresh_run_ends_with_the_same_bytes_as_the_killed_one(
    trained: Path, shapes_dir: Path
) -> None:
    bundle = trained / "weights/shapes"
    killed = {path.name: path.read_bytes() for path in bundle.iterdir()}
    cached = next(trained.glob("runs/features-*/progress.json"))
    extracted = cached.stat().st_mtime_ns
    choice = next(trained.glob("runs/shapes-*/choice.json"))
    decided = choice.stat().st_mtime_ns

    result = umzero(
        *train(shapes_dir, "--fresh", "--report", "told/here.html", "--json"), folder=trained
    )

    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bundle"] == "weights/shapes"
    assert told["scores"] == json.loads((bundle / "manifest.json").read_text())["scores"]
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == killed
    assert choice.stat().st_mtime_ns > decided
    assert cached.stat().st_mtime_ns == extracted
    page = choice.with_name("report.html")
    assert f"report: {page.relative_to(trained)}" in result.stderr
    assert (trained / "told/here.html").read_bytes() == page.read_bytes()


def test_two_processes_choose_what_one_chooses_and_write_and_print_once(
    trained: Path, shapes_dir: Path, tmp_path: Path
) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    command = [*torchrun, "--nproc-per-node", "2", *UMZERO[1:], *train(shapes_dir, "--json")]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert result.stderr.count("bundle weights/shapes written") == 1
    assert umzero("verify", "weights/shapes", folder=tmp_path).returncode == 0
    manifest = json.loads((tmp_path / "weights/shapes/manifest.json").read_text())
    assert told["scores"] == manifest["scores"]
    for name in ("features-*/pooled.npy", "features-*/block15.npy"):
        features = (np.load(next(folder.glob(f"runs/{name}"))) for folder in (trained, tmp_path))
        np.testing.assert_allclose(*features, atol=0.02)
    (expected,), (found,) = (
        [json.loads(path.read_text()) for path in folder.glob("runs/shapes-*/choice.json")]
        for folder in (trained, tmp_path)
    )
    # Dropout leaves out other units.
    for score in ("czsl", "h"):
        assert found[score] == pytest.approx(expected[score], abs=0.1)


def test_evaluate_prints_what_the_manifest_says(trained: Path, shapes_dir: Path) -> None:
    result = umzero("evaluate", "weights/shapes", "--data", shapes_dir, "--json", folder=trained)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    manifest = json.loads((trained / "weights/shapes/manifest.json").read_text())
    command = manifest["scores"].pop("command")
    assert printed == manifest["scores"]
    assert command == f"umzero evaluate weights/shapes --data {shapes_dir}"
    table = umzero("evaluate", "weights/shapes", "--data", shapes_dir, folder=trained)
    assert f"{100 * printed['czsl']:.1f}" in table.stdout


def test_export_writes_the_same_graphs_again(trained: Path, shapes_dir: Path) -> None:
    graphs = [trained / "weights/shapes" / name for name in ("embed.onnx", "prototypes.onnx")]
    before = [graph.read_bytes() for graph in graphs]
    result = umzero("export", "weights/shapes", "--data", shapes_dir, "--json", folder=trained)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["int8"] is None
    assert 0 <= max(told["parity"].values()) < 1e-3
    assert [graph.read_bytes() for graph in graphs] == before
    assert umzero("verify", "weights/shapes", folder=trained).returncode == 0


def test_export_int8_adds_a_graph_and_its_figures_and_a_plain_export_drops_both(
    trained: Path, shapes_dir: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "shapes"
    shutil.copytree(trained / "weights/shapes", bundle)
    words = ("export", bundle, "--data", shapes_dir)
    photo = shapes_dir / "images/green_disc/0.png"

    result = umzero(*words, "--int8", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((bundle / "manifest.json").read_text())
    int8 = manifest["int8"]
    assert int8["command"] == f"umzero export {bundle} --data {shapes_dir} --int8"
    # 5 classes that are no validation classes, 8 training images each, 2 of them held out.
    assert int8["calibration_images"] == 5 * 6
    assert f"on {int8['validation']['agreement']:.1%} of" in " ".join(result.stdout.split())
    assert f"{100 * int8['validation']['int8']['czsl']:.1f}" in result.stdout
    assert "embed.int8.onnx" in manifest["files"]
    assert umzero("verify", bundle, folder=tmp_path).returncode == 0
    Classifier(bundle, precision="int8").classify(photo)

    result = umzero(*words, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert "int8" not in manifest
    assert "embed.int8.onnx" not in manifest["files"]
    assert umzero("verify", bundle, folder=tmp_path).returncode == 0
    with pytest.raises(BackendUnavailable, match="umzero export --int8"):
        Classifier(bundle, precision="int8")


def test_classify_prints_a_readable_table(trained: Path, shapes_dir: Path) -> None:
    photo = shapes_dir / "images/green_disc/0.png"
    result = umzero("classify", photo, "--bundle", "weights/shapes", folder=trained)
    assert result.returncode == 0, result.stderr
    assert "green" in result.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("train", "nothing", "--data", ".", "--out", "x"), "no recipe is called 'nothing'"),
        (("train", "folder", "--data", "missing", "--out", "x"), "is no folder"),
        (
            ("train", "folder", "--data", ".", "--out", "x", "--precision", "fp8"),
            "precision is 'fp8'; training knows fp32, bf16",
        ),
        (("evaluate", "missing", "--data", "."), "no bundle at missing"),
        (("evaluate", "missing", "--data", ".", "--without", "cnn"), "--without takes hga or mim"),
        (("verify", "missing"), "no bundle at missing"),
        (("classify", "missing.jpg", "--bundle", "missing"), "missing"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    result = umzero(*words, folder=tmp_path)
    assert result.returncode != 0
    assert complaint in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
