"""`/v2`: the Open Inference Protocol, so that Triton's and KServe's clients work."""

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from PIL import Image
from starlette.responses import Response

from model.errors import ImageError
from model.preprocess import fit
from model.runtime.base import U8
from service.bootstrap import version
from service.engine.generation import Generation
from service.errors import RequestError, UnknownModel
from service.http import faults, tensor_answers, tensors
from service.http.deps import ServiceDep, admitted, answer
from service.http.oip_schemas import (
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.http.openapi import documented_as_protocol, reference
from service.http.problems import PROTOCOL
from service.http.tensor_answers import Tensor
from service.http.tensors import HEADER
from service.lifecycle import Service
from service.usecases.classify import Answer, Question

router = APIRouter(prefix=PROTOCOL, tags=["Open Inference Protocol"])

VERSION = "1"  # of a model: a bundle's weights are told apart by its sha256
# Of the specification's list: "<project>_<format>", for information only.
_PLATFORMS = {"onnx": "onnx_onnxv1", "torch": "pytorch_torchscript"}

_OF_MODEL = documented_as_protocol(faults.UNKNOWN_MODEL, faults.NOT_READY)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_LENGTH = {"type": "integer", "minimum": 0}
_INFERRED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": _BINARY},
        "headers": {
            HEADER: {"description": "bytes of the JSON before the tensors", "schema": _LENGTH}
        },
    },
    **documented_as_protocol(faults.UNKNOWN_MODEL, faults.TENSORS, faults.NO_CANDIDATES),
}
_INFER_BODY = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": "with tensors as bytes after the JSON: how many bytes the JSON has",
            "schema": _LENGTH,
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": reference("InferenceRequest")},
            "application/octet-stream": _BINARY,
        },
    },
}

Model = Annotated[str, Path(description="the bundle's name")]
Number = Annotated[str, Path(description="the version: 1")]


@router.get(
    "",
    summary="Server metadata",
    response_model=ServerMetadata,
    responses=documented_as_protocol(),
)
@router.get("/", include_in_schema=False)  # as the specification's YAML has it
async def server_metadata() -> Response:
    """The server's name and version, and which extensions of the protocol it knows."""
    return answer({"name": "umzero", "version": version(), "extensions": ["binary_tensor_data"]})


@router.get(
    "/health/live",
    summary="Server live",
    response_model=ServerLive,
    responses=documented_as_protocol(faults.NOT_READY),
)
async def server_live(service: ServiceDep) -> Response:
    """The process lives; 503 where a batch hangs, as of `/livez`."""
    service.check_alive()
    return answer({"live": True})


@router.get(
    "/health/ready",
    summary="Server ready",
    response_model=ServerReady,
    responses=documented_as_protocol(faults.NOT_READY),
)
async def server_ready(service: ServiceDep) -> Response:
    """Every model is ready; 503 while it is not."""
    service.admitting()
    return answer({"live": True, "ready": True})


@router.get(
    "/models/{model}",
    summary="Model metadata",
    response_model=ModelMetadata,
    responses=_OF_MODEL,
)
async def model_metadata(service: ServiceDep, model: Model) -> Response:
    """The model's inputs and outputs. There is one model, which has the bundle's name.

    `image` is BYTES (encoded images, base64 in JSON) or UINT8 (pixels, N x height x width x 3).
    """
    return _metadata(_generation(service, model))


@router.get(
    "/models/{model}/versions/{number}",
    summary="Model metadata, by version",
    response_model=ModelMetadata,
    responses=_OF_MODEL,
)
async def model_version_metadata(service: ServiceDep, model: Model, number: Number) -> Response:
    """`GET /v2/models/{model}` for a version by its number: there is only 1."""
    return _metadata(_generation(service, model, number))


@router.get(
    "/models/{model}/ready", summary="Model ready", response_model=ModelReady, responses=_OF_MODEL
)
async def model_ready(service: ServiceDep, model: Model) -> Response:
    """The model is ready; 503 while it is not."""
    _generation(service, model)
    return answer({"name": model, "ready": True})


@router.get(
    "/models/{model}/versions/{number}/ready",
    summary="Model ready, by version",
    response_model=ModelReady,
    responses=_OF_MODEL,
)
async def model_version_ready(service: ServiceDep, model: Model, number: Number) -> Response:
    """`GET /v2/models/{model}/ready` for a version by its number: there is only 1."""
    _generation(service, model, number)
    return answer({"name": model, "ready": True})


@router.post(
    "/models/{model}/infer",
    summary="Inference",
    response_model=InferenceResponse,
    responses=_INFERRED,
    openapi_extra=_INFER_BODY,
)
async def infer(request: Request, service: ServiceDep, model: Model) -> Response:
    """Classify images: what `POST /classify` does, with tensors for requests and answers.

    The input `image` is BYTES of shape [N] or [N, 1], encoded images, or UINT8 of shape
    [N, height, width, 3] or [height, width, 3], pixels. The outputs have a row for each image:
    `class_ids`, `class_names` and `probabilities` of the best `top_k` classes (a parameter, 5 by
    default) of a `collection` (another one), and `embedding` where `outputs` asks for it. Errors
    are of the whole request.

    Triton's binary tensor extension works both ways: tensors as bytes after the JSON.
    """
    return await _infer(request, service, _generation(service, model))


@router.post(
    "/models/{model}/versions/{number}/infer",
    summary="Inference, by version",
    response_model=InferenceResponse,
    responses=_INFERRED,
    openapi_extra=_INFER_BODY,
)
async def infer_version(
    request: Request, service: ServiceDep, model: Model, number: Number
) -> Response:
    """`POST /v2/models/{model}/infer` for a version by its number: there is only 1."""
    return await _infer(request, service, _generation(service, model, number))


def _generation(service: Service, model: str, number: str = VERSION) -> Generation:
    """Raises: UnknownModel, NotReady."""
    generation = service.admitting()
    name = generation.bundle.name
    if (model, number) != (name, VERSION):
        raise UnknownModel(f"there is one model here: {name!r}, version {VERSION}")
    return generation


def _metadata(generation: Generation) -> Response:
    size = generation.backend.info
    return answer(
        {
            "name": generation.bundle.name,
            "versions": [VERSION],
            "platform": _PLATFORMS.get(size.name, f"umzero_{size.name}"),
            "inputs": [{"name": tensors.INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "class_ids", "datatype": "BYTES", "shape": [-1, -1]},
                {"name": "class_names", "datatype": "BYTES", "shape": [-1, -1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, -1]},
                {"name": "embedding", "datatype": "FP32", "shape": [-1, size.embedding_dim]},
            ],
        }
    )


async def _infer(request: Request, service: Service, generation: Generation) -> Response:
    settings = service.settings
    async with admitted(request, service, settings.max_body_bytes) as body:
        loop = asyncio.get_running_loop()
        asked = await loop.run_in_executor(
            service.workers, tensors.parse, body, request.headers.get(HEADER), settings
        )
        size = generation.backend.info.input_size
        images = await loop.run_in_executor(service.workers, _fitted, asked.images, size)
        question = Question(asked.collection, asked.top_k)
        field = await service.classify.field(generation, question)
        results = await service.classify.many(generation, field, images, question)
        content, headers = await loop.run_in_executor(
            service.workers,
            lambda: tensor_answers.write(generation.bundle.name, VERSION, asked, _tensors(results)),
        )
    return Response(content, headers=headers)


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
