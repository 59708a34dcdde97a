"""`Idempotency-Key`: what a client sends with a request that it may have to send again.

The header is that of the IETF's draft (draft-ietf-httpapi-idempotency-key-header): a quoted string.
Most clients send it bare, as Stripe's do, whose answers are also where `REPLAYED` comes from.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header

from service.errors import RequestError
from service.registry.once import Once

REPLAYED = "Idempotent-Replayed"
_PATTERN = r'^(?:"([!#-\[\]-~]{1,255})"|([!#-~]{1,255}))$'


async def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="the client's own, new for each registration; kept for 24 hours",
            # Said only: what doesn't fit has a code of its own.
            json_schema_extra={
                "pattern": _PATTERN,
                "examples": ["8e03978e-40d5-43e8-bc93-6894a57f9324"],
            },
        ),
    ] = None,
) -> str | None:
    """Raises: RequestError, 400 `idempotency_key_invalid`."""
    if idempotency_key is None:
        return None
    match = re.fullmatch(_PATTERN, idempotency_key)
    if match is None:
        raise RequestError(
            400,
            "idempotency_key_invalid",
            f"Idempotency-Key is {idempotency_key[:100]!r}; expected 1 to 255 visible characters "
            "of ASCII without spaces and quotes, such as a UUID",
        )
    return match[1] or match[2]


KeyDep = Annotated[str | None, Depends(_key)]


def once_of(key: str, body: bytes) -> Once:
    """A key with the request that it belongs to."""
    return Once(key, hashlib.sha256(body).hexdigest())
