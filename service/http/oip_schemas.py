"""The shapes of the Open Inference Protocol, as OpenAPI shows them. `tensors` reads them itself.

Source: Open Inference Protocol, REST, version 2 (kserve/open-inference-protocol).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.registry.records import CLASS_ID, DEFAULT_COLLECTION

Value = str | float | bool
Parameters = Annotated[dict[str, Value], Field(description="names and simple values")]
Shape = Annotated[list[int], Field(description="-1 stands for any number")]
Data = Annotated[list[Any], Field(description="row by row, flat or nested")]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    live: bool


class ServerReady(BaseModel):
    """The specification's text has `live` here, its clients look for `ready`."""

    live: bool
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: Shape


class ModelMetadata(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RequestInput(BaseModel):
    """BYTES: encoded images, base64 in JSON. UINT8: pixels, N x height x width x 3."""

    name: Literal["image"]
    datatype: Literal["BYTES", "UINT8"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=4)
    data: Data
    parameters: Parameters = {}


class RequestOutput(BaseModel):
    name: Literal["class_ids", "class_names", "probabilities", "embedding"]
    parameters: Parameters = Field({}, description="`binary_data`: as bytes after the JSON")


class InferenceParameters(BaseModel):
    model_config = ConfigDict(extra="allow")

    top_k: int = Field(default=5, ge=1, description="classes for each image, at most")
    collection: str = Field(
        default=DEFAULT_COLLECTION,
        pattern=f"^{CLASS_ID.pattern}$",
        description="whose classes are meant, as in `POST /classify`",
    )
    binary_data_output: bool = Field(
        default=False, description="every output as bytes after the JSON"
    )


class InferenceRequest(BaseModel):
    """Without `outputs`: all but `embedding`."""

    id: str = Field("", description="comes back in the answer")
    inputs: list[RequestInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestOutput] = Field([], max_length=4, description="each of them once")
    parameters: InferenceParameters = InferenceParameters()


class ResponseOutput(BaseModel):
    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: Shape
    data: Data | None = None
    parameters: Parameters | None = None


class InferenceResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]
