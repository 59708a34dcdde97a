"""Where answers are written: small ones at once, large ones off the event loop."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.responses import Response

from service.errors import RequestError
from service.http.routes.classify import Result, written
from service.usecases.classify import Answer
from service.usecases.ranking import Prediction

EMPTY = RequestError(422, "image_empty", "the image has no bytes")


def answer(predictions: int) -> Answer:
    one = Prediction("kite", "Kite", 1.0, 1.0, False)
    embedding = np.ones(1, np.float32)
    return Answer([one] * predictions, [], 0.1, 0.1, 0.1, embedding, None)


@pytest.mark.parametrize(
    ("results", "thread"),
    [
        ([answer(5)], "MainThread"),
        ([EMPTY], "MainThread"),
        ([answer(10_000)], "MainThread"),
        ([answer(10_001)], "other_0"),
        ([answer(5_000), EMPTY, answer(5_000)], "MainThread"),
        ([answer(5_000), EMPTY, answer(5_001)], "other_0"),
    ],
)
def test_the_predictions_of_all_images_together_make_an_answer_large(
    results: list[Result], thread: str
) -> None:
    def write() -> Response:
        return Response(threading.current_thread().name)

    with ThreadPoolExecutor(1, "other") as workers:
        response = asyncio.run(written(workers, results, write))

    assert bytes(response.body).decode() == thread
