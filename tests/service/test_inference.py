"""From bytes to what the network sees: who decodes, who fails, who shares the CPUs."""

import asyncio
import dataclasses
import io
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model import preprocess
from model.errors import ImageError
from model.runtime.base import F32, U8, Embedded
from model.runtime.fake import FakeBackend
from service import tracing
from service.engine import inference as engine
from service.engine.decoding import Decoding
from service.engine.inference import Inference
from service.tracing import Attributes, Interval, Trace

SIZE = 32


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def use(backend: FakeBackend, test: Callable[[Inference], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        decoding = Decoding(SIZE, 10_000, 2)
        inference = Inference(backend, decoding, max_batch=8, capacity=64, lanes=1)
        await test(inference)
        await inference.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that decode."""
    names: list[str] = []
    real = preprocess.to_input

    def noted(*args: Any) -> U8:
        names.append(threading.current_thread().name)
        return real(*args)

    monkeypatch.setattr(preprocess, "to_input", noted)
    return names


def test_an_image_that_can_not_be_decoded_fails_alone_in_its_batch() -> None:
    backend = FakeBackend(input_size=SIZE, delay_s=0.05)

    async def test(inference: Inference) -> None:
        first = asyncio.ensure_future(inference.see(png(1)))
        await asyncio.sleep(0.02)
        files = [png(50), b"no image", png(200), png(30)[:40]]
        results = await asyncio.gather(*map(inference.see, files), return_exceptions=True)
        await first

        assert [isinstance(result, ImageError) for result in results] == [False, True, False, True]
        for file, result in zip(files, results, strict=True):
            if not isinstance(result, BaseException):
                pixels = preprocess.to_input(file, SIZE, 10_000)
                expected = FakeBackend(input_size=SIZE).embed(pixels[None])
                np.testing.assert_array_equal(result.embedding, expected.embedding[0])
                np.testing.assert_array_equal(result.attributes, expected.attributes[0])

    use(backend, test)
    assert backend.batch_sizes == [1, 2]


def test_a_lane_takes_more_images_at_once_than_it_embeds() -> None:
    backend = FakeBackend(input_size=SIZE, delay_s=0.05)
    handed: list[int] = []

    class Counting:
        def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
            handed.append(len(waited_s))

    async def whole() -> None:
        inference = Inference(
            backend,
            Decoding(SIZE, 10_000, 2),
            max_batch=3,
            capacity=64,
            lanes=1,
            observer=Counting(),
        )
        first = asyncio.ensure_future(inference.see(png(1)))
        await asyncio.sleep(0.02)
        seen = await asyncio.gather(*(inference.see(png(30 * i)) for i in range(8)))
        await first
        await inference.close()
        for i, item in enumerate(seen):
            pixels = preprocess.to_input(png(30 * i), SIZE, 10_000)
            expected = FakeBackend(input_size=SIZE).embed(pixels[None])
            np.testing.assert_array_equal(item.embedding, expected.embedding[0])

    asyncio.run(asyncio.wait_for(whole(), 60))
    assert handed == [1, 8]
    assert backend.batch_sizes == [1, 3, 3, 2]


def test_a_batch_of_bad_images_never_reaches_the_backend() -> None:
    backend = FakeBackend(input_size=SIZE)

    async def test(inference: Inference) -> None:
        results = await asyncio.gather(
            inference.see(b"a"), inference.see(b"b"), return_exceptions=True
        )
        assert all(isinstance(result, ImageError) for result in results)
        assert (await inference.see(png(9))).decode_s > 0

    use(backend, test)
    assert backend.batch_sizes == [1]


def test_on_a_cpu_the_lane_decodes_but_for_large_files(
    decoders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(inference: Inference) -> None:
        await inference.see(png(1))
        assert decoders == ["lane_0"]
        monkeypatch.setattr(engine, "_LIGHT_BYTES", len(png(2)) - 1)
        await inference.see(png(2))
        assert decoders[1].startswith("decode")

    use(FakeBackend(input_size=SIZE), test)


def test_for_a_gpu_images_are_decoded_before_they_are_batched(decoders: list[str]) -> None:
    backend = FakeBackend(input_size=SIZE)
    backend._info = dataclasses.replace(backend.info, device="cuda:0")

    async def test(inference: Inference) -> None:
        await asyncio.gather(*(inference.see(png(shade)) for shade in range(4)))

    use(backend, test)
    assert len(decoders) == 4
    assert all(name.startswith("decode") for name in decoders)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("light_bytes", [2**20, 0], ids=["light", "heavy"])
def test_every_decoding_is_told_and_spanned_with_the_same_time(
    monkeypatch: pytest.MonkeyPatch, device: str, light_bytes: int
) -> None:
    monkeypatch.setattr(engine, "_LIGHT_BYTES", light_bytes)
    backend = Finding(input_size=SIZE)
    backend._info = dataclasses.replace(backend.info, device=device)
    told: list[float] = []
    spanned: list[float] = []

    class Noting(Trace):
        def add(self, name: str, interval: Interval, attributes: Attributes | None = None) -> None:
            if name == "decode":
                spanned.append(interval[1] - interval[0])

    async def test() -> None:
        tracing.current.set(Noting({}))
        decoding = Decoding(SIZE, 10_000, 2)
        inference = Inference(
            backend, decoding, max_batch=8, capacity=8, lanes=1, decoded=told.append
        )
        once = await inference.see(quarters())
        assert told == [once.decode_s]
        twice = await inference.see(quarters(), looks=2)
        assert twice.decode_s == pytest.approx(sum(told[1:]))
        pixels = await inference.decode(quarters())
        assert len(told) == 4
        await inference.embed(pixels)
        for look in (inference.see, inference.decode):
            with pytest.raises(ImageError):
                await look(b"no image")
        await inference.close()

    asyncio.run(asyncio.wait_for(test(), 60))
    assert told == spanned
    assert len(told) == 4
    assert min(told) > 0


def test_inferences_that_run_beside_others_share_the_threads() -> None:
    class Sharing(FakeBackend):
        ways: list[str] = []  # noqa: RUF012

        def embed(self, images: U8) -> Embedded:
            self.ways.append("alone")
            return super().embed(images)

        def embed_beside(self, images: U8) -> Embedded:
            self.ways.append("beside")
            return super().embed(images)

    async def test(inference: Inference) -> None:
        await inference.see(png(1))
        assert Sharing.ways == ["alone"]
        # The first of them runs while the others wait.
        await asyncio.gather(*(inference.see(png(shade)) for shade in range(20)))
        assert Sharing.ways[1] == "beside"

    use(Sharing(input_size=SIZE), test)


class Finding(FakeBackend):
    """It finds something at the lower left quarter of whatever it is shown."""

    def embed(self, images: U8) -> Embedded:
        found = super().embed(images)
        feature_map = np.zeros_like(found.fine)
        feature_map[:, :, 2:, :2] = 1
        return found._replace(fine=feature_map, coarse=feature_map)


def quarters(file_format: str = "PNG") -> bytes:
    """80 x 40 pixels: red, green, blue and gray, the blue one at the lower left."""
    image = Image.new("RGB", (80, 40), (90, 90, 90))
    for place, colour in (((0, 0), "red"), ((40, 0), "lime"), ((0, 20), "blue")):
        image.paste(colour, (*place, place[0] + 40, place[1] + 20))
    file = io.BytesIO()
    image.save(file, file_format)
    return file.getvalue()


def unit(vector: F32) -> F32:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("light_bytes", [2**20, 0], ids=["in the lane", "in the pool"])
def test_a_second_look_is_at_the_window_that_the_first_one_found(
    monkeypatch: pytest.MonkeyPatch, light_bytes: int
) -> None:
    monkeypatch.setattr(engine, "_LIGHT_BYTES", light_bytes)
    backend = Finding(input_size=SIZE)

    async def test(inference: Inference) -> None:
        once = await inference.see(quarters())
        twice = await inference.see(quarters(), looks=2)

        assert once.window is None
        assert twice.window is not None
        x, y, w, h = map(int, twice.window.box)
        assert (x, y + h) == (0, 40)
        assert 40 <= w < 60
        assert 20 <= h < 30
        pixels = np.asarray(Image.open(io.BytesIO(quarters())).crop((x, y, x + w, y + h)))
        alone = Finding(input_size=SIZE).embed(preprocess.fit(Image.fromarray(pixels), SIZE)[None])
        share = w * h / (80 * 40)
        assert twice.window.share == pytest.approx(share)
        expected = unit(share * once.embedding + (1 - share) * alone.embedding[0])
        np.testing.assert_allclose(twice.embedding, expected, atol=1e-5)
        expected = share * once.attributes + (1 - share) * alone.attributes[0]
        np.testing.assert_allclose(twice.attributes, expected, atol=1e-3)

    use(backend, test)
    assert backend.batch_sizes == [1, 1, 1]


def test_a_second_look_stays_inside_the_box_of_the_first() -> None:
    async def test(inference: Inference) -> None:
        seen = await inference.see(quarters(), (40, -5, 500, 25), 2)

        assert seen.window is not None
        x, y, w, h = seen.window.box
        assert (x, y + h) == (40, 20)
        assert 20 <= w < 30
        assert 10 <= h < 15

    use(Finding(input_size=SIZE), test)


def test_those_who_look_twice_share_batches_with_those_who_look_once() -> None:
    backend = Finding(input_size=SIZE, delay_s=0.05)

    async def test(inference: Inference) -> None:
        first = asyncio.ensure_future(inference.see(png(1)))
        await asyncio.sleep(0.02)
        seen = await asyncio.gather(
            *(inference.see(png(shade), None, looks) for shade, looks in ((9, 2), (90, 1), (99, 2)))
        )
        await first
        assert [item.window is not None for item in seen] == [True, False, True]

    use(backend, test)
    assert backend.batch_sizes == [1, 3, 2]


def test_an_image_that_can_not_be_decoded_gets_no_look_at_all() -> None:
    backend = FakeBackend(input_size=SIZE)

    async def test(inference: Inference) -> None:
        with pytest.raises(ImageError):
            await inference.see(b"no image", looks=2)

    use(backend, test)
    assert backend.batch_sizes == []


def test_without_anything_to_find_nobody_looks_twice() -> None:
    backend = FakeBackend(input_size=SIZE)

    async def test(inference: Inference) -> None:
        once = await inference.see(quarters())
        twice = await inference.see(quarters(), looks=2)

        assert twice.window == ((0, 0, 80, 40), 1)
        np.testing.assert_array_equal(twice.embedding, once.embedding)
        np.testing.assert_array_equal(twice.attributes, once.attributes)

    use(backend, test)
    assert backend.batch_sizes == [1, 1]
