"""LitServe: batches of up to 8, of what waits already."""

from typing import Annotated, Any

import litserve
from common import CPUS, PORT, ImageError, Model, chosen
from fastapi import Body, HTTPException

from model.runtime.base import U8

# The best of `plans.py` on 2 CPUs, but without waiting for a batch to fill: that costs a lone
# client more than it gives to many.
WORKERS = chosen("WORKERS", CPUS)
THREADS = chosen("THREADS", 1)
BATCH = chosen("BATCH", 8)
WAIT_MS = chosen("WAIT_MS", 0)


class Classify(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.model = Model(THREADS)

    # LitServe reads forms and JSON; the annotation makes FastAPI hand over the raw body.
    def decode_request(self, request: Annotated[bytes, Body()]) -> U8:
        try:
            return self.model.decode(request)
        except ImageError as error:
            raise HTTPException(400, str(error)) from error

    # A list goes in and comes out, so that neither side is stacked twice.
    def batch(self, inputs: list[U8]) -> list[U8]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self.model.rank(x) if BATCH > 1 else self.model.rank([x])[0]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Classify(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1e3, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, access_log=False)
