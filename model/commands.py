"""`umzero train`, `evaluate`, `export` and `verify`, as plain functions with typer annotations."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import bundle as bundles
from model.errors import ConfigError, WeightsError
from model.runtime.precision import is_good_enough

BundleArgument = Annotated[Path, typer.Argument(help="a bundle's folder, such as weights/birds")]
DataOption = Annotated[Path, typer.Option(help="a data set's folder: CUB's layout, or your own")]


def train(
    recipe: Annotated[str, typer.Argument(help="birds, folder or folder-resnet101")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="where the bundle goes")],
    runs: Annotated[Path, typer.Option(help="caches and resumable states")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    hga: Annotated[bool, typer.Option(help="second-order statistics")] = True,
    mim: Annotated[bool, typer.Option(help="the Mamba Interaction Module")] = True,
    contrastive: Annotated[bool, typer.Option(help="the prototype contrastive loss")] = True,
) -> None:
    """Train a bundle; the same command goes on where a killed one stopped."""
    from model.data.read import read
    from model.training.recipes import recipe as find_recipe
    from model.training.run import TrainingRun
    from model.training.run import train as start

    console = Console(stderr=True)
    config = find_recipe(recipe, seed, hga, mim, contrastive)
    console.print(f"reading {data}")
    dataset = read(data)
    command = f"umzero evaluate {out} --data {data}"
    run = TrainingRun(config, dataset, out, runs, command, _bar(console), console.print)
    bundle = start(run)
    console.print(f"[green]bundle {bundle.path} written[/green], sha256 {bundle.sha256[:12]}")
    if bundle.manifest.scores:
        _print_scores(bundle.manifest.scores)


def evaluate(
    bundle: BundleArgument,
    data: DataOption,
    without: Annotated[str, typer.Option(help="hga or mim: zero that part's output")] = "",
    baseline: Annotated[bool, typer.Option(help="score ESZSL as well")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score a bundle: CZSL; GZSL's U, S and H; the classical baseline beside it."""
    from model.data.read import read
    from model.training.evaluate import evaluate as run

    if without not in ("", "hga", "mim"):
        raise ConfigError(f"--without takes hga or mim, not {without!r}")
    console = Console(stderr=True)
    found = bundles.read(bundle)
    dataset = read(data)
    with _bar(console)("images") as progress:
        result = run(found, dataset, without, baseline, progress).to_json()
    if as_json:
        print(json.dumps(result))
    else:
        _print_scores(result)


def export(
    bundle: BundleArgument,
    data: DataOption,
    int8: Annotated[
        bool, typer.Option("--int8", help="also write embed.int8.onnx, and what it costs")
    ] = False,
) -> None:
    """Write a bundle's ONNX graphs again from its safetensors, and check them on real images."""
    from model.data.read import read
    from model.export.int8 import check_data, write_int8
    from model.export.onnx import export as write
    from model.export.parity import check
    from model.export.quantize import INT8
    from model.runtime.torch_backend import load_network
    from model.training.run import parity_inputs

    console = Console(stderr=True)
    found = bundles.read(bundle)
    dataset = read(data)
    if int8:
        check_data(found, dataset)
    network = load_network(found)
    new = bundle / ".new"
    try:
        write(network, new)
        inputs = parity_inputs(network, dataset)
        parity = check(network, new, *inputs)
        figures: dict[str, Any] = {}
        if int8:
            command = f"umzero export {bundle} --data {data} --int8"
            with _bar(console)("int8") as progress:
                figures = write_int8(found, dataset, new, inputs[0], command, progress)
        for file in new.iterdir():
            file.replace(bundle / file.name)
        if not int8:  # It would be an older network's.
            (bundle / INT8).unlink(missing_ok=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    bundles.write(bundle, replace(found.manifest, int8=figures), found.classes)
    console.print(f"ONNX equals torch: {parity}")
    if int8:
        _print_int8(figures)


def verify(bundle: BundleArgument) -> None:
    """Check every file of a bundle against its sha256."""
    found = bundles.read(bundle)
    if problems := bundles.verify(found):
        raise WeightsError(f"{bundle} is damaged: {'; '.join(problems)}")
    print(f"{bundle}: {len(found.manifest.files)} files are as the manifest says")


def _bar(console: Console) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    @contextmanager
    def bar(title: str) -> Iterator[Callable[[int, int], None]]:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return bar


def _print_scores(scores: dict[str, object]) -> None:
    table = Table(title="per-class averages, percent")
    for column in ("", "CZSL", "U", "S", "H"):
        table.add_column(column, justify="right" if column else "left")
    rows = {"UMZero": scores, "ESZSL": scores.get("baseline")}
    if scores.get("without"):
        rows = {f"UMZero without {scores['without']}": scores, "ESZSL": scores.get("baseline")}
    for name, row in rows.items():
        if isinstance(row, dict):
            table.add_row(name, *(f"{100 * row[key]:.1f}" for key in ("czsl", "u", "s", "h")))
    console = Console()
    console.print(table)
    if "changed" in scores:
        console.print(f"top-1 changes on {scores['changed']:.1%} of the test photographs")


def _print_int8(int8: dict[str, Any]) -> None:
    found = int8["validation"]
    table = Table(title="validation classes, per-class averages, percent")
    for column in ("", "CZSL", "U", "S", "H"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("fp32", "int8"):
        table.add_row(name, *(f"{100 * found[name][key]:.1f}" for key in ("czsl", "u", "s", "h")))
    console = Console()
    console.print(table)
    chosen = "int8" if is_good_enough(int8) else "fp32"
    console.print(
        f"the same best class on {found['agreement']:.1%} of {found['photographs']} photographs; "
        f"precision auto takes {chosen}"
    )
