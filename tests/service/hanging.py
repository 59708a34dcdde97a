"""A backend that hangs: a white image's batch ends when it is told to."""

import threading

import numpy as np

from model.runtime.base import U8

WHITE: U8 = np.full((32, 32, 3), 255, np.uint8)
LIMIT_S = 60


class Hanging:
    """What `FakeBackend.of` takes as `fail`.

    Attributes:
        entered: set once a batch hangs.
        end: lets it end.
    """

    def __init__(self) -> None:
        self.entered, self.end = threading.Event(), threading.Event()

    def __call__(self, images: U8) -> None:
        if images.max() == WHITE.max():
            self.entered.set()
            assert self.end.wait(LIMIT_S)
