"""`/livez`, `/readyz` and `/startupz`, by Kubernetes' names."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http import faults
from service.http.deps import ServiceDep, answer
from service.http.openapi import documented
from service.http.schemas import Status

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Does the process live?",
    response_model=Status,
    responses=documented(faults.NOT_READY),
)
async def livez(service: ServiceDep) -> Response:
    """200 as soon as the server listens, also while it warms up, unless a batch hangs.

    For a liveness probe: while it is 503, nothing but a new start helps.
    """
    service.check_alive()
    return answer({"status": "alive"})


@router.get(
    "/readyz",
    summary="Can it answer?",
    response_model=Status,
    responses=documented(faults.NOT_READY),
)
async def readyz(service: ServiceDep) -> Response:
    """200 once the backend is warm and the classes are loaded, until the service shuts down.

    For a readiness probe: while it is 503, every request with work in it would be, too.
    """
    service.admitting()
    return answer({"status": "ready"})


@router.get(
    "/startupz",
    summary="Has it started?",
    response_model=Status,
    responses=documented(faults.NOT_READY),
)
async def startupz(service: ServiceDep) -> Response:
    """200 once it was warm for the first time, and from then on, also while it shuts down.

    For a startup probe, until whose success the other two are not asked. A service whose warm-up
    fails says 503, and ends.
    """
    service.check_started()
    return answer({"status": "started"})
