"""mosec: its HTTP server is compiled; one stage that decodes and infers, batches of up to 8."""

import sys
from typing import Any

from common import CPUS, PORT, QUEUE, ImageError, Model, chosen
from mosec import Server, ValidationError, Worker

from model.runtime.base import U8

# Of the plans of `plans.py` on 2 CPUs the fastest at 32 clients; batches of 1 gain as much at 8 as
# they lose there. A wait of 0 ms would be taken for mosec's own 10.
WORKERS = chosen("WORKERS", CPUS)
THREADS = chosen("THREADS", 1)
BATCH = chosen("BATCH", 8)
WAIT_MS = chosen("WAIT_MS", 1)


class Classify(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model(THREADS)

    def deserialize(self, data: bytes) -> U8:
        try:
            return self.model.decode(data)
        except ImageError as error:
            raise ValidationError(str(error)) from error

    def forward(self, data: Any) -> Any:
        return self.model.rank(data) if BATCH > 1 else self.model.rank([data])[0]


if __name__ == "__main__":
    sys.argv += ["--port", str(PORT), "--address", "127.0.0.1", "--timeout", "30000"]
    sys.argv += ["--capacity", str(QUEUE)]
    server = Server()
    server.append_worker(
        Classify, num=WORKERS, max_batch_size=BATCH, max_wait_time=WAIT_MS, route="/classify"
    )
    server.run()
