"""`GET /`: the playground, and the files that it is made of."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.http import etags, static_files

router = APIRouter()


@router.get("/", response_class=Response, include_in_schema=False)
async def page(request: Request) -> Response:
    """One page for people: look at photographs, see why, make classes."""
    return _answer(request, "index.html")


@router.get("/static/{name}", response_class=Response, include_in_schema=False)
async def file(request: Request, name: str) -> Response:
    """A file of the page."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = static_files.read().get(name)
    if found is None:
        raise HTTPException(404)
    if etags.is_known(request.headers.getlist("if-none-match"), found.etag):
        return Response(None, 304, found.headers)
    return Response(found.content, headers=found.headers)
