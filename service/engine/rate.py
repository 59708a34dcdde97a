"""How fast images are answered, for telling a client that is refused when to come back."""

import math
from collections.abc import Sequence

from service.engine.batcher import Observer

_WEIGHT = 0.1  # of the newest batch in the moving average
_LONGEST_S = 60


class ServiceRate:
    """An `Observer` of batches that keeps the moving average of the time an image takes.

    Args:
        lanes: batches that run at the same time.
        then: is told of batches as well.
    """

    def __init__(self, lanes: int, then: Observer) -> None:
        self._lanes = lanes
        self._then = then
        self._seconds_per_image = 0.0

    def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
        """`service.engine.batcher.Observer`."""
        newest = ran_s / max(1, len(waited_s))
        if self._seconds_per_image:
            newest = _WEIGHT * newest + (1 - _WEIGHT) * self._seconds_per_image
        self._seconds_per_image = newest
        self._then.batch_ended(waited_s, ran_s, cancelled)

    def retry_after_s(self, waiting: int) -> int:
        """Whole seconds until `waiting` images are answered, 1 to 60."""
        seconds = math.ceil(waiting * self._seconds_per_image / self._lanes)
        return min(max(1, seconds), _LONGEST_S)
