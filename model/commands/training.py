"""`umzero train`, `evaluate` and `ablate`."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from model import bundle as bundles
from model.commands.common import BundleArgument, DataOption, JsonOption, bar
from model.errors import ConfigError


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
    as_json: JsonOption = False,
) -> None:
    """Train a bundle; the same command goes on where a killed one stopped. Under torchrun, its
    processes train together."""
    from model.data.check import warnings_of
    from model.data.read import read
    from model.training.memory import keep_freed_memory
    from model.training.processes import ALONE, launched
    from model.training.recipes import recipe as find_recipe
    from model.training.run import train as start
    from model.training.tables import print_scores
    from model.training.training_run import TrainingRun

    processes = launched()
    console = Console(stderr=True, quiet=not processes.is_main)
    config = find_recipe(recipe, seed, hga, mim, contrastive)
    given: dict[str, Any] = {
        "precision": precision,
        "accumulate": accumulate,
        "patience": patience,
    }
    own = {key: value for key, value in given.items() if value is not None}
    config = replace(config, mim=replace(config.mim, **own))
    keep_freed_memory()
    if processes is not ALONE:
        console.print(f"processes: {processes.count}, this one on {processes.device}")
    console.print(f"reading {data}")
    dataset = read(data)
    for warning in warnings_of(dataset):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    command = f"umzero evaluate {out} --data {data}"
    run = TrainingRun(config, dataset, out, runs, command, bar(console), console.print, processes)
    if not resume:
        processes.from_main(run.forget)
    bundle = start(run)
    if not processes.is_main:
        return
    console.print(f"[green]bundle {bundle.path} written[/green], sha256 {bundle.sha256[:12]}")
    console.print(f"report: {escape(str(run.page))}", soft_wrap=True)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.page, report)
    if as_json:
        told = {"bundle": str(bundle.path), "sha256": bundle.sha256, "report": str(run.page)}
        print(json.dumps(told | {"scores": bundle.manifest.scores}))
    elif bundle.manifest.scores:
        print_scores(bundle.manifest.scores)


def calibrate(
    recipe: Annotated[str, typer.Argument(help="as for train")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="the bundle's folder")],
    seed: Annotated[int, typer.Option(help="as for train")] = 0,
    runs: Annotated[Path, typer.Option(help="caches and resumable states")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Decide anew what validation classes decide of a trained bundle: `known`, photographs."""
    from model.data.read import read
    from model.training.memory import keep_freed_memory
    from model.training.recipes import recipe as find_recipe
    from model.training.run import calibrate_again
    from model.training.training_run import TrainingRun

    console = Console(stderr=True)
    keep_freed_memory()
    config = find_recipe(recipe, seed)
    run = TrainingRun(config, read(data), out, runs, "", bar(console), console.print)
    bundle = calibrate_again(run)
    told = bundle.manifest.calibration
    print(json.dumps(told) if as_json else f"{bundle.path}: {told}")


def evaluate(
    bundle: BundleArgument,
    data: DataOption,
    without: Annotated[str, typer.Option(help="hga or mim: zero that part's output")] = "",
    baseline: Annotated[bool, typer.Option(help="score ESZSL as well")] = True,
    frames: Annotated[
        bool, typer.Option("--frames", help="instead: accuracy over the object's share of frames")
    ] = False,
    on: Annotated[str, typer.Option(help="with --frames: validation or unseen")] = "validation",
    as_json: JsonOption = False,
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
        with bar(console)("frames") as progress:
            backend = load(found, "cpu", "fp32", 0)
            curve = frames_curve(backend, found, dataset, on, progress=progress).to_json()
        if as_json:
            print(json.dumps(curve))
        else:
            print_curve(curve)
        return
    with bar(console)("images") as progress:
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
    as_json: JsonOption = False,
) -> None:
    """Compare UMZero with itself less one part, and with simpler systems, on seen classes alone."""
    from model.data.read import read
    from model.training.ablation import KNOWN
    from model.training.ablation import ablate as run
    from model.training.ablation_picture import draw
    from model.training.memory import keep_freed_memory
    from model.training.recipes import recipe as find_recipe
    from model.training.systems import SYSTEMS
    from model.training.tables import print_ablation
    from model.training.training_run import attribute_space

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
    with bar(console)("features") as progress:
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
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print_ablation(rows)
    if picture is not None:
        draw(rows, picture)
