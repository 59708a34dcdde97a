"""`GET /attributes`."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http.deps import ServiceDep, answer
from service.http.problems import documented
from service.http.schemas import AttributeList

router = APIRouter(tags=["classes"])


@router.get("/attributes", response_model=AttributeList, responses=documented(503))
async def attributes(service: ServiceDep) -> Response:
    """The attributes of a sheet, in the order of its numbers, with the scale's bounds."""
    space = service.generation.space
    rows = zip(space.names, space.groups, space.minimum, space.maximum, space.mean, strict=True)
    listed = [
        {
            "name": name,
            "group": group,
            "min": float(low),
            "max": float(high),
            "mean": round(float(mean), 6),
        }
        for name, group, low, high, mean in rows
    ]
    return answer({"count": len(listed), "attributes": listed})
