"""What one writes in ten minutes: FastAPI, a thread pool, one session, no batching."""

import uvicorn
from common import CPUS, PORT, ImageError, Model, chosen
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

app = FastAPI()
model = Model(chosen("THREADS", CPUS))


@app.post("/classify")
async def classify(request: Request) -> dict[str, object]:
    try:
        return await run_in_threadpool(model.classify, await request.body())
    except ImageError as error:
        raise HTTPException(400, str(error)) from error


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, access_log=False)
