"""`GET /attributes`."""

from fastapi import APIRouter
from starlette.responses import Response

from service.http.deps import ServiceDep, answer
from service.http.openapi import documented
from service.http.schemas import AttributeList

router = APIRouter(tags=["classes"])


@router.get(
    "/attributes",
    summary="List the attributes of a sheet",
    response_model=AttributeList,
    responses=documented(),
)
async def list_attributes(service: ServiceDep) -> Response:
    """Every attribute of the bundle, in the order of a sheet's numbers.

    `group` and what follows `::` in the name are what a sheet by group is made of; `min` and `max`
    are the scale's bounds, and `mean` is what the seen classes have on average: what a sheet takes
    where it says nothing.
    """
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
