"""From bytes to what the network sees: who decodes, who fails, who shares the CPUs."""

import asyncio
import dataclasses
import io
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model import preprocess
from model.errors import ImageError
from model.runtime.base import U8, Embedded
from model.runtime.fake import FakeBackend
from service.engine import inference as engine
from service.engine.decoding import Decoding
from service.engine.inference import Inference

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
