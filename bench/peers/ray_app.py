"""Ray Serve: two replicas, each a batcher of its own."""

import asyncio
import os
from typing import Any

import ray
from common import CPUS, PORT, QUEUE, ImageError, Model, chosen
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from model.runtime.base import U8

# The best of `plans.py` on 2 CPUs: one replica, or more threads, are slower at 8 clients and more.
WORKERS = chosen("WORKERS", CPUS)
THREADS = chosen("THREADS", 1)
BATCH = chosen("BATCH", 8)
WAIT_MS = chosen("WAIT_MS", 2)


@serve.deployment(
    num_replicas=WORKERS,
    max_ongoing_requests=2 * BATCH,
    max_queued_requests=QUEUE - WORKERS * 2 * BATCH,
    # Ray's own processes want CPUs, too.
    ray_actor_options={"num_cpus": 0.5},
    logging_config={"enable_access_log": False},
)
class Classify:
    def __init__(self) -> None:
        self.model = Model(THREADS)

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_MS / 1e3)
    async def rank(self, images: list[U8]) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.model.rank, images)

    async def __call__(self, request: Request) -> Any:
        body = await request.body()
        try:
            image = await asyncio.to_thread(self.model.decode, body)
        except ImageError as error:
            return JSONResponse({"detail": str(error)}, 400)
        return await self.rank(image)


if __name__ == "__main__":
    ray.init(include_dashboard=False, _temp_dir=os.environ.get("BENCH_STATE"))
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Classify.bind(), route_prefix="/classify", blocking=True)
