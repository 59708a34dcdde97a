"""`/v2`: the Open Inference Protocol, so that Triton's and KServe's clients work."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from model.errors import ImageError
from model.preprocess import fit
from model.runtime.base import U8
from service.bootstrap import Service, version
from service.engine.generation import Generation
from service.errors import RequestError, ServiceError, UnknownModel
from service.http import bodies, tensors
from service.http.deps import ServiceDep, answer, deadline, while_connected
from service.http.problems import noted
from service.http.tensors import HEADER, Tensor
from service.usecases.classify import Answer, Question

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

VERSION = "1"  # of a model: a bundle's weights are told apart by its sha256
_PLATFORMS = {"onnx": "onnxruntime_onnx", "torch": "pytorch_libtorch"}

Route = Callable[..., Awaitable[Response]]


def _in_its_words(route: Route) -> Route:
    """Answers every error as the protocol does, {"error": ...}, with our status and headers."""

    @wraps(route)
    async def guarded(request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            return await route(request, *args, **kwargs)
        except (ServiceError, ImageError, ClientDisconnect) as error:
            problem = noted(request.scope, error)
            kept = {k: v for k, v in problem.headers.items() if k in ("retry-after", "connection")}
            # The protocol knows 400 alone for what a client did wrong.
            status = 400 if problem.status_code in (415, 422) else problem.status_code
            return answer({"error": str(error)}, status, kept)

    return guarded


@router.get("")
async def server() -> Response:
    """The server's name and version, and which extensions it knows."""
    return answer({"name": "umzero", "version": version(), "extensions": ["binary_tensor_data"]})


@router.get("/health/live")
async def live() -> Response:
    """The process lives."""
    return answer({"live": True})


@router.get("/health/ready")
@_in_its_words
async def ready(request: Request, service: ServiceDep) -> Response:  # noqa: ARG001 - the wrapper's
    """Every model is ready."""
    service.admitting()
    return answer({"ready": True})


@router.get("/models/{model}")
@router.get("/models/{model}/versions/{number}", include_in_schema=False)
@_in_its_words
async def metadata(request: Request, service: ServiceDep, model: str) -> Response:
    """Inputs and outputs."""
    generation = _model(request, service)
    size = generation.backend.info
    return answer(
        {
            "name": model,
            "versions": [VERSION],
            "platform": _PLATFORMS.get(size.name, size.name),
            "inputs": [{"name": tensors.INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "class_ids", "datatype": "BYTES", "shape": [-1, -1]},
                {"name": "class_names", "datatype": "BYTES", "shape": [-1, -1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, -1]},
                {"name": "embedding", "datatype": "FP32", "shape": [-1, size.embedding_dim]},
            ],
        }
    )


@router.get("/models/{model}/ready")
@router.get("/models/{model}/versions/{number}/ready", include_in_schema=False)
@_in_its_words
async def model_ready(request: Request, service: ServiceDep, model: str) -> Response:
    """The model is ready."""
    _model(request, service)
    return answer({"name": model, "ready": True})


@router.post("/models/{model}/infer")
@router.post("/models/{model}/versions/{number}/infer", include_in_schema=False)
@_in_its_words
async def infer(request: Request, service: ServiceDep, model: str) -> Response:
    """Classify images: `image`, BYTES (files) or UINT8 (pixels)."""
    settings = service.settings
    generation = _model(request, service)
    with service.permits.hold():
        body = await bodies.read(request, settings.max_body_bytes, settings.image_body_timeout_s)
        async with while_connected(request), deadline(settings.request_timeout_s):
            loop = asyncio.get_running_loop()
            asked = await loop.run_in_executor(
                service.workers,
                tensors.parse,
                body,
                request.headers.get(HEADER),
                settings.max_images,
            )
            size = generation.backend.info.input_size
            images = await loop.run_in_executor(service.workers, _fitted, asked.images, size)
            question = Question(top_k=asked.top_k)
            field = await service.classify.field(generation, question)
            results = await service.classify.many(generation, field, images, question)
            content, headers = await loop.run_in_executor(
                service.workers, lambda: tensors.write(model, VERSION, asked, _tensors(results))
            )
    return Response(content, headers=headers)


def _model(request: Request, service: Service) -> Generation:
    """Raises: UnknownModel, NotReady."""
    generation = service.admitting()
    name = generation.bundle.name
    asked = request.path_params
    if (asked["model"], asked.get("number", VERSION)) != (name, VERSION):
        raise UnknownModel(f"there is one model here: {name!r}, version {VERSION}")
    return generation


def _fitted(images: Any, size: int) -> list[bytes | U8 | RequestError]:
    """Pixels as the network takes them; files as they are."""
    return [
        image if isinstance(image, bytes) else fit(Image.fromarray(image), size) for image in images
    ]


def _tensors(results: list[Answer | ImageError | RequestError]) -> dict[str, Tensor]:
    """Raises: the error of the first image that can't be used."""
    answers = []
    for result in results:
        if not isinstance(result, Answer):
            raise result
        answers.append(result)
    count, best = len(answers), len(answers[0].predictions)
    predictions = [item for one in answers for item in one.predictions]
    probabilities = np.array([item.probability for item in predictions], np.float32)
    embedding = np.concatenate([one.embedding for one in answers]).astype(np.float32)
    found = (
        Tensor("class_ids", (count, best), [item.class_id for item in predictions]),
        Tensor("class_names", (count, best), [item.name for item in predictions]),
        Tensor("probabilities", (count, best), probabilities),
        Tensor("embedding", (count, len(embedding) // count), embedding),
    )
    return {tensor.name: tensor for tensor in found}
