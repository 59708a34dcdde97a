"""Parts of a service on the fake bundle."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle
from model.runtime.base import F32
from model.runtime.fake import write_fake_bundle
from service.registry.memory_store import MemoryStore
from service.registry.records import NewClass
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from tests.stores import NAMES


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_fake_bundle(tmp_path_factory.mktemp("bundles") / "fake")


@pytest.fixture(scope="session")
def new_class() -> Callable[..., NewClass]:
    """Makes a class whose sheet follows from its id."""

    def make(class_id: str, name: str | None = None, attributes: F32 | None = None) -> NewClass:
        if attributes is None:
            seed = int.from_bytes(class_id.encode()[-4:], "big")
            attributes = np.random.default_rng(seed).uniform(0, 100, 9).astype(np.float64)
        return NewClass(
            class_id, name or f"name of {class_id}", attributes, 6, 3, {"key": class_id}
        )

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, sqlite_file: Path) -> Iterator[ClassStore]:
    store: ClassStore
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "sqlite":
        store = SqlStore(f"sqlite:///{sqlite_file}", NAMES)
    else:
        store = SqlStore(request.getfixturevalue("postgres").database(), NAMES)
    yield store
    store.close()
