"""Settings: variables, what wins over them, and what is said of wrong ones."""

import inspect
from pathlib import Path

import pytest

from service import settings
from service.commands import serve
from service.errors import ConfigurationError
from service.settings import Settings


def test_variables_are_read_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMZERO_PORT", "9001")
    monkeypatch.setenv("UMZERO_QUEUE_CAPACITY", "7")
    monkeypatch.setenv("UMZERO_HOST", "")

    found = settings.read({"port": 9002})

    assert (found.port, found.queue_capacity, found.host) == (9002, 7, "127.0.0.1")


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMZERO_THREADS", "many")

    with pytest.raises(ConfigurationError) as refused:
        settings.read({"port": 70000, "precision": "fp7"})

    for name in ("UMZERO_THREADS", "UMZERO_PORT", "UMZERO_PRECISION"):
        assert name in refused.value.detail


def test_every_setting_is_an_option_of_serve_and_every_option_a_setting() -> None:
    assert set(inspect.signature(serve).parameters) == set(Settings.model_fields)


def test_classes_lie_in_the_state_folder_unless_a_database_is_named() -> None:
    state = Path("somewhere")

    assert settings.read({"state_dir": state}).store_url == "sqlite:///somewhere/umzero.db"
    assert settings.read({"database_url": "postgresql://x/y"}).store_url == "postgresql://x/y"


def test_a_body_may_not_take_longer_than_an_answer() -> None:
    found = settings.read({"body_timeout_s": 30, "request_timeout_s": 2})

    assert found.image_body_timeout_s == 2
