"""`umzero train`, `evaluate`, `export`, `verify` and `data check`, with typer annotations."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model import bundle as bundles
from model.errors import ConfigError, WeightsError

BundleArgument = Annotated[Path, typer.Argument(help="a bundle's folder, such as weights/birds")]
DataOption = Annotated[Path, typer.Option(help="a data set's folder: CUB, SUN, AWA2, or your own")]


def train(
    recipe: Annotated[
        str,
        typer.Argument(help="birds, folder, cub, sun, awa2; the last four also with -resnet101"),
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="where the bundle goes")],
    runs: Annotated[Path, typer.Option(help="caches and resumable states")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    hga: Annotated[bool, typer.Option(help="second-order statistics")] = True,
    mim: Annotated[bool, typer.Option(help="the Mamba Interaction Module")] = True,
    contrastive: Annotated[bool, typer.Option(help="the prototype contrastive loss")] = True,
    precision: Annotated[
        str | None, typer.Option(help="fp32, or bf16: mixed; of MIM's training")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="batches whose gradients make one step")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="epochs without a better validation; 0 never stops early"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh",
            help="go on where this command was killed, or train again; cached features stay",
        ),
    ] = True,
    report: Annotated[
        Path | None, typer.Option(help="also write the report of the run, an HTML file, here")
    ] = None,
) -> None:
    """Train a bundle; the same command goes on where a killed one stopped."""
    from model.data.check import warnings_of
    from model.data.read import read
    from model.training.memory import keep_freed_memory
    from model.training.recipes import recipe as find_recipe
    from model.training.run import TrainingRun
    from model.training.run import train as start
    from model.training.tables import print_scores

    console = Console(stderr=True)
    config = find_recipe(recipe, seed, hga, mim, contrastive)
    given: dict[str, Any] = {
        "precision": precision,
        "accumulate": accumulate,
        "patience": patience,
    }
    own = {key: value for key, value in given.items() if value is not None}
    config = replace(config, mim=replace(config.mim, **own))
    keep_freed_memory()
    console.print(f"reading {data}")
    dataset = read(data)
    for warning in warnings_of(dataset):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    command = f"umzero evaluate {out} --data {data}"
    run = TrainingRun(config, dataset, out, runs, command, _bar(console), console.print)
    if not resume:
        run.forget()
    bundle = start(run)
    console.print(f"[green]bundle {bundle.path} written[/green], sha256 {bundle.sha256[:12]}")
    console.print(f"report: {escape(str(run.page))}", soft_wrap=True)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.page, report)
    if bundle.manifest.scores:
        print_scores(bundle.manifest.scores)


def evaluate(
    bundle: BundleArgument,
    data: DataOption,
    without: Annotated[str, typer.Option(help="hga or mim: zero that part's output")] = "",
    baseline: Annotated[bool, typer.Option(help="score ESZSL as well")] = True,
    frames: Annotated[
        bool, typer.Option("--frames", help="instead: accuracy over the object's share of frames")
    ] = False,
    on: Annotated[str, typer.Option(help="with --frames: validation or unseen")] = "validation",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score a bundle: CZSL; GZSL's U, S, H and AUSUC; ECE; the classical baseline beside it."""
    from model.data.read import read
    from model.runtime.load import load
    from model.training.evaluate import evaluate as run
    from model.training.frames_curve import frames_curve
    from model.training.memory import keep_freed_memory
    from model.training.tables import print_curve, print_scores

    if without not in ("", "hga", "mim"):
        raise ConfigError(f"--without takes hga or mim, not {without!r}")
    if frames and without:
        raise ConfigError("--frames measures the whole network; leave --without out")
    if on != "validation" and not frames:
        raise ConfigError("--on goes with --frames")
    keep_freed_memory()
    console = Console(stderr=True)
    found = bundles.read(bundle)
    dataset = read(data)
    if frames:
        with _bar(console)("frames") as progress:
            backend = load(found, "cpu", "fp32", 0)
            curve = frames_curve(backend, found, dataset, on, progress=progress).to_json()
        if as_json:
            print(json.dumps(curve))
        else:
            print_curve(curve)
        return
    with _bar(console)("images") as progress:
        result = run(found, dataset, without, baseline, progress).to_json()
    if as_json:
        print(json.dumps(result))
    else:
        print_scores(result)


def ablate(
    recipe: Annotated[str, typer.Argument(help="as for train")],
    data: DataOption,
    folds: Annotated[int, typer.Option(min=2, help="the seen classes are dealt into so many")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="deals, and trainings")] = 3,
    only: Annotated[
        str,
        typer.Option(
            help="systems, separated by commas, held against the first; the main ones when empty"
        ),
    ] = "",
    log: Annotated[Path, typer.Option(help="a line each finished run; none is run twice")] = Path(
        "docs/experiments.jsonl"
    ),
    picture: Annotated[
        Path | None, typer.Option(help="also draw the differences, as an SVG file, here")
    ] = None,
    runs: Annotated[Path, typer.Option(help="caches")] = Path("runs"),
) -> None:
    """Compare UMZero with itself less one part, and with simpler systems, on seen classes alone."""
    from model.data.read import read
    from model.training.ablation import KNOWN
    from model.training.ablation import ablate as run
    from model.training.ablation_picture import draw
    from model.training.memory import keep_freed_memory
    from model.training.recipes import recipe as find_recipe
    from model.training.run import attribute_space
    from model.training.systems import SYSTEMS
    from model.training.tables import print_ablation

    systems = [name.strip() for name in only.split(",") if name.strip()] or list(SYSTEMS)
    if unknown := [name for name in systems if name not in KNOWN]:
        raise ConfigError(f"no system is called {unknown[0]!r}; there are {', '.join(KNOWN)}")
    console = Console(stderr=True)
    config = find_recipe(recipe, 0)
    keep_freed_memory()
    dataset = read(data)
    if not 2 <= folds <= len(dataset.seen) // 2:
        raise ConfigError(
            f"{dataset.name} has {len(dataset.seen)} seen classes: too few for {folds} folds"
        )
    with _bar(console)("features") as progress:
        rows = run(
            config,
            dataset,
            attribute_space(dataset),
            systems,
            folds,
            range(seeds),
            log,
            runs,
            progress,
            console.print,
        )
    print_ablation(rows)
    if picture is not None:
        draw(rows, picture)


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
    from model.training.tables import print_int8

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
        print_int8(figures)


def verify(bundle: BundleArgument) -> None:
    """Check every file of a bundle against its sha256."""
    found = bundles.read(bundle)
    if problems := bundles.verify(found):
        raise WeightsError(f"{bundle} is damaged: {'; '.join(problems)}")
    print(f"{bundle}: {len(found.manifest.files)} files are as the manifest says")


def data_check(
    data: Annotated[Path, typer.Argument(help="a data set's folder")],
) -> None:
    """Tell everything that is wrong with a data set; exit code 1 when it can't be used as it is."""
    from model.data.check import check

    console = Console(highlight=False, soft_wrap=True)
    report = check(data)
    console.print(f"{escape(str(data))}: {report.summary}")
    for colour, kind, found in (
        ("red", "error", report.errors),
        ("yellow", "warning", report.warnings),
        ("blue", "note", report.notes),
    ):
        for line in found:
            console.print(f"[{colour}]{kind}:[/{colour}] {escape(line)}")
    console.print(f"errors: {len(report.errors)}, warnings: {len(report.warnings)}")
    if report.errors:
        raise typer.Exit(1)


def _bar(console: Console) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    @contextmanager
    def bar(title: str) -> Iterator[Callable[[int, int], None]]:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return bar
