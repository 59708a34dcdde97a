"""`GET /metrics`."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http.deps import ServiceDep
from service.http.openapi import documented
from service.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}},
        **documented(),
    },
)
async def metrics(service: ServiceDep) -> Response:
    """Counters, gauges and histograms in Prometheus's text format.

    How many requests came and how they ended, how long they waited and took, what the batches
    looked like, how many classes there are.
    """
    return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})
