"""`/livez` and `/readyz`, by Kubernetes' names."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http.deps import ServiceDep, answer
from service.http.problems import documented

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> Response:
    """The process lives."""
    return answer({"status": "alive"})


@router.get("/readyz", responses=documented(503))
async def readyz(service: ServiceDep) -> Response:
    """The backend is warm, the classes are loaded, and the service isn't shutting down."""
    service.admitting()
    return answer({"status": "ready"})
