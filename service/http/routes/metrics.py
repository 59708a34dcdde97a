"""`GET /metrics`."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http.deps import ServiceDep
from service.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response)
async def metrics(service: ServiceDep) -> Response:
    """Prometheus's text format."""
    return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})
