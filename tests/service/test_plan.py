"""The plan follows what was measured; backends here differ by more than a machine's noise."""

from pathlib import Path

import pytest

from model.runtime.base import U8, Embedded
from model.runtime.fake import FakeBackend, write_fake_bundle
from service import bootstrap
from service.engine import plan
from service.engine.plan import Asked, Plan, candidates, choose, measure
from service.settings import read


class Paced(FakeBackend):
    """Takes `call_s` a batch and `image_s` an image, as far as `rate` is told."""

    def __init__(self, call_s: float, image_s: float) -> None:
        super().__init__(input_size=4)
        self.pace = call_s, image_s
        self.closed = False
        self.tried: list[tuple[int, int]] = []

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def _paced(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(backend: Paced, callers: int, size: int) -> float:
        backend.tried.append((callers, size))
        call_s, image_s = backend.pace
        return callers * size / (call_s + image_s * size)

    monkeypatch.setattr(plan, "rate", rate)


@pytest.mark.parametrize(
    ("asked", "cpus", "device", "expected"),
    [
        (Asked(), 1, "cpu", [(1, 1)]),
        (Asked(), 2, "cpu", [(2, 2)]),
        (Asked(), 8, "cpu", [(2, 8), (8, 8)]),
        (Asked(lanes=3), 8, "cpu", [(3, 8)]),
        (Asked(threads=4), 2, "cpu", [(2, 4)]),
        (Asked(lanes=3, threads=5), 8, "cpu", [(3, 5)]),
        (Asked(), 8, "cuda:1", [(2, 8)]),
    ],
)
def test_what_the_settings_fix_is_not_varied(
    asked: Asked, cpus: int, device: str, expected: list[tuple[int, int]]
) -> None:
    assert candidates(asked, cpus, device) == expected


@pytest.mark.usefixtures("_paced")
def test_the_plan_that_answers_most_is_kept_open_and_the_others_are_closed() -> None:
    opened: dict[tuple[int, int], Paced] = {}

    def open_backend(lanes: int, threads: int) -> Paced:
        fast = (lanes, threads) == (4, 4)
        opened[lanes, threads] = Paced(0.0, 0.002 if fast else 0.04)
        return opened[lanes, threads]

    chosen = choose(open_backend, Asked(), 4, "cpu")
    assert (chosen.plan.lanes, chosen.plan.threads) == (4, 4)
    assert chosen.backend is opened[4, 4]
    assert {plan for plan, backend in opened.items() if backend.closed} == {(2, 4)}


@pytest.mark.usefixtures("_paced")
def test_a_plan_that_is_hardly_better_does_not_displace_the_usual_one() -> None:
    chosen = choose(lambda lanes, _: Paced(0.0, 0.02 if lanes == 2 else 0.039), Asked(), 4, "cpu")
    assert (chosen.plan.lanes, chosen.plan.threads) == (2, 4)


@pytest.mark.usefixtures("_paced")
def test_batches_are_as_large_as_costs_nothing() -> None:
    assert measure(Paced(0.02, 0.0), 1, 1, (1, 2, 4)).plan == Plan(1, 1, 4)
    assert measure(Paced(0.0, 0.02), 1, 1, (1, 2, 4)).plan == Plan(1, 1, 4)
    assert measure(Paced(-0.02, 0.04), 1, 1, (1, 2, 4)).plan == Plan(1, 1, 1)


@pytest.mark.usefixtures("_paced")
def test_a_batch_that_would_keep_requests_waiting_is_not_even_tried() -> None:
    backend = Paced(0.2, 0.05)
    measure(backend, 2, 1, (1, 2, 16))
    assert backend.tried == [(1, 1), (2, 1), (2, 2)]


@pytest.mark.usefixtures("_paced")
def test_a_size_that_is_asked_for_is_the_only_one_that_runs_in_batches() -> None:
    backends = []

    def open_backend(lanes: int, threads: int) -> Paced:
        backends.append(Paced(0.001, 0.0))
        return backends[-1]

    chosen = choose(open_backend, Asked(lanes=1, threads=1, max_batch=3), 2, "cpu")
    assert chosen.plan == Plan(1, 1, 3)
    assert backends[0].tried == [(1, 1), (1, 3)]


def test_callers_side_by_side_share_the_threads() -> None:
    class Sharing(FakeBackend):
        beside = 0

        def embed_beside(self, images: U8) -> Embedded:
            self.beside += 1
            return super().embed(images)

    backend = Sharing(input_size=4)
    plan.rate(backend, 1, 1)
    assert backend.beside == 0
    plan.rate(backend, 2, 1)
    assert backend.beside >= 2


def test_the_rate_counts_every_callers_images() -> None:
    backend = FakeBackend(input_size=4, delay_s=0.02)
    found = plan.rate(backend, 2, 3)
    assert found <= 2 * 3 / 0.02
    assert set(backend.batch_sizes) == {3}
    assert len(backend.batch_sizes) >= 4  # each caller's first one, which is not counted, and more


class Chosen(Exception):  # noqa: N818 - what `choose` was asked is all that matters
    pass


@pytest.mark.parametrize(("kind", "expected"), [("torch", 3), ("onnx", 0)])
def test_torch_is_tried_with_one_number_of_threads_for_they_are_the_process_s(
    kind: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spy(_: object, asked: Asked, cpus: int, device: str) -> None:
        raise Chosen(asked.threads)

    monkeypatch.setattr(bootstrap, "available_cpus", lambda: 3)
    monkeypatch.setattr(bootstrap, "choose", spy)
    settings = read({"bundle": write_fake_bundle(tmp_path / "fake").path, "backend": kind})
    with pytest.raises(Chosen) as caught:
        bootstrap.build(settings)
    assert caught.value.args == (expected,)
