"""`/admin`: which bundle answers, and another one in its place; whose classes there are."""

import hmac
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from service.errors import RequestError, Unauthorized
from service.http import bodies, faults
from service.http.deps import ServiceDep, answer
from service.http.openapi import documented, reference
from service.http.problems import NOTHING_SERVED
from service.http.schemas import BundleSwapped, CollectionList, ServedBundle, SwapBody, parsed
from service.lifecycle import Service

router = APIRouter(tags=["admin"])

_LARGEST_BODY = 2**16

_bearer = HTTPBearer(auto_error=False, description="the value of `UMZERO_ADMIN_TOKEN`")


async def _administered(
    service: ServiceDep,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Service:
    """Raises: RequestError, 404 `not_found`: nobody may; Unauthorized."""
    token = service.settings.admin_token.get_secret_value().encode()
    if not token:
        raise RequestError(404, "not_found", NOTHING_SERVED)
    # As the server read the header.
    sent = given.credentials.encode("latin-1", "replace") if given else b""
    if not hmac.compare_digest(sent, token):
        raise Unauthorized("send the header `Authorization: Bearer ...` with UMZERO_ADMIN_TOKEN")
    return service


AdministeredDep = Annotated[Service, Depends(_administered)]


@router.get(
    "/admin/bundle",
    summary="Which bundle answers?",
    response_model=ServedBundle,
    responses=documented(faults.ADMINISTERED),
)
async def get_bundle(service: AdministeredDep) -> Response:
    """The bundle that answers, and the one before it, to which `previous` goes back.

    `folder` is the name that `POST /admin/bundle` takes.
    """
    return answer(_shown(service))


@router.get(
    "/admin/collections",
    summary="Which collections are there?",
    response_model=CollectionList,
    responses=documented(faults.ADMINISTERED),
)
async def list_collections(service: AdministeredDep) -> Response:
    """Every collection that has classes of its own, and how many."""
    tables = service.generation.registry.tables
    counts = sorted(tables.registered_counts().items())
    listed = [{"collection": name, "classes": count} for name, count in counts]
    return answer({"collections": listed, "revision": tables.revision})


@router.post(
    "/admin/bundle",
    summary="Swap the bundle",
    response_model=BundleSwapped,
    responses=documented(faults.ADMINISTERED, faults.JSON_BODY, faults.SWAP, faults.STORE),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(SwapBody.__name__)}},
        }
    },
)
async def swap_bundle(service: AdministeredDep, request: Request) -> Response:
    """Load another bundle while this one answers; no request fails, and none sees both.

    `bundle` is the name of its folder, which lies beside the one that answers, or `previous`. Its
    files are hashed, it is warmed up, every registered class gets its prototype from the new
    network, and then it takes over. The answer comes when it has.

    If it can't be used, the old one goes on. Its attributes must be the same, and in the same
    order: a problem with the code `attribute_space` lists what is `added`, `missing` and `moved`.
    """
    service.admitting()
    bodies.check_json(request.headers.get("content-type", ""))
    with service.write_permits.hold():
        body = await bodies.read(request, _LARGEST_BODY, service.settings.body_timeout_s)
    wanted = parsed(SwapBody, bodies.json_object(body)).bundle
    started = time.perf_counter()
    await service.swap.to(wanted)
    return answer({**_shown(service), "seconds": round(time.perf_counter() - started, 3)})


def _shown(service: Service) -> dict[str, Any]:
    tables = service.generation.registry.tables
    before = service.swap.previous
    now = service.swap.current
    return {
        "bundle": now.name,
        "folder": now.folder.name,
        "sha256": now.sha256,
        "classes": tables.own_count + sum(tables.registered_counts().values()),
        "revision": tables.revision,
        "previous": before
        and {"bundle": before.name, "folder": before.folder.name, "sha256": before.sha256},
    }
