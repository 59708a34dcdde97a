"""`umzero export` and `verify`."""

import json
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.console import Console

from model import bundle as bundles
from model.commands.common import BundleArgument, DataOption, JsonOption, bar
from model.errors import WeightsError
from model.place import rewritten


def export(
    bundle: BundleArgument,
    data: DataOption,
    int8: Annotated[
        bool, typer.Option("--int8", help="also write embed.int8.onnx, and what it costs")
    ] = False,
    as_json: JsonOption = False,
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
    with rewritten(bundle) as new:
        (new / INT8).unlink(missing_ok=True)  # It would be an older network's.
        write(network, new)
        inputs = parity_inputs(network, dataset)
        parity = check(network, new, *inputs)
        figures: dict[str, Any] = {}
        if int8:
            command = f"umzero export {bundle} --data {data} --int8"
            with bar(console)("int8") as progress:
                figures = write_int8(found, dataset, new, inputs[0], command, progress)
        bundles.write(new, replace(found.manifest, int8=figures), found.classes)
    console.print(f"ONNX equals torch: {parity}")
    if as_json:
        print(json.dumps({"parity": asdict(parity), "int8": figures or None}))
    elif int8:
        print_int8(figures)


def verify(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Check every file of a bundle against its sha256."""
    found = bundles.read(bundle)
    problems = bundles.verify(found)
    if as_json:
        files = sorted(found.manifest.files)
        print(json.dumps({"bundle": str(bundle), "files": files, "problems": problems}))
    if problems:
        raise WeightsError(f"{bundle} is damaged: {'; '.join(problems)}")
    if not as_json:
        print(f"{bundle}: {len(found.manifest.files)} files are as the manifest says")
