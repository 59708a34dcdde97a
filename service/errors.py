"""Every error that `service` raises on purpose. Messages are safe to show; codes are stable."""

# ruff: noqa: N818 - the names are the words of the contract's codes

from collections.abc import Mapping
from typing import Any, ClassVar


class ServiceError(Exception):
    """The root.

    Args:
        detail: what came, what was expected, what to do.
        index: which item of a list is meant, if the request was one.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after_s: int | None = None
    headers: ClassVar[Mapping[str, str]] = {}  # of the answer

    def __init__(self, detail: str, *, index: int | None = None) -> None:
        self.detail = detail
        self.index = index
        super().__init__(detail)

    @property
    def members(self) -> dict[str, Any]:
        """What a problem says beside its detail."""
        return {} if self.index is None else {"index": self.index}


def image_status(code: str) -> int:
    """The status of a `model.errors.ImageError` with this code."""
    return 413 if code == "image_too_large" else 422


class ConfigurationError(ServiceError):
    """The service can't start like this."""

    code = "configuration"


class RequestError(ServiceError):
    """A request that can't be understood; `code` says why."""

    def __init__(self, status: int, code: str, detail: str, *, index: int | None = None) -> None:
        super().__init__(detail, index=index)
        self._status, self._code = status, code

    @property
    def status(self) -> int:  # type: ignore[override]
        return self._status

    @property
    def code(self) -> str:  # type: ignore[override]
        return self._code


class ValidationError(ServiceError):
    """Fields or parameters are missing, unknown or of the wrong kind; `errors` lists them."""

    status, code = 422, "validation"

    def __init__(self, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(detail)
        self.errors = errors

    @property
    def members(self) -> dict[str, Any]:
        return {"errors": self.errors}


class BodyTooLarge(ServiceError):
    """The body, or an image in it, has more bytes than are allowed."""

    status, code = 413, "body_too_large"


class BodyTimeout(ServiceError):
    """The body wasn't complete in time; the connection is closed."""

    status, code = 408, "body_timeout"


class ClientGone(ServiceError):
    """Nobody waits for the answer any more; 499 is nginx's number for it and is never sent."""

    status, code = 499, "client_gone"


class NotReady(ServiceError):
    """The service warms up, is shutting down, or hangs."""

    status, code, retry_after_s = 503, "not_ready", 1


class Overloaded(ServiceError):
    """More work than can wait; `Retry-After` says when there may be room."""

    status, code, retry_after_s = 503, "overloaded", 1

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DeadlinePassed(ServiceError):
    """The answer took longer than a request may."""

    status, code, retry_after_s = 503, "deadline", 1


class RevisionUnavailable(ServiceError):
    """The registry hasn't reached `min_revision`."""

    status, code, retry_after_s = 503, "revision_unavailable", 1


class StoreUnavailable(ServiceError):
    """The database of registered classes does not answer."""

    status, code, retry_after_s = 503, "store_unavailable", 1


class UnknownClass(ServiceError):
    """No class has this id."""

    status, code = 404, "unknown_class"


class UnknownModel(ServiceError):
    """Another model, or another version of it, is served."""

    status, code = 404, "unknown_model"


class NoCandidates(ServiceError):
    """No class is left to choose from."""

    status, code = 422, "no_candidates"


class BundleClassError(ServiceError):
    """The bundle's own classes are read-only."""

    status, code = 409, "bundle_class"


class ClassExists(ServiceError):
    """A class has this id already."""

    status, code = 409, "class_exists"


class PreconditionFailed(ServiceError):
    """The class isn't what `If-Match` says: someone else has changed it."""

    status, code = 412, "precondition_failed"


class IdempotencyKeyReused(ServiceError):
    """The `Idempotency-Key` came with another body before."""

    status, code = 422, "idempotency_key_reused"


class IdempotencyInProgress(ServiceError):
    """A request with the same `Idempotency-Key` is being answered."""

    status, code = 409, "idempotency_in_progress"


class NameTaken(ServiceError):
    """A class has this name already."""

    status, code = 409, "name_taken"


class Unauthorized(ServiceError):
    """No token came with the request, or another one than the administrator's."""

    status, code = 401, "unauthorized"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class UnknownBundle(ServiceError):
    """No bundle lies there, or where it lies none may be taken from."""

    status, code = 404, "unknown_bundle"


class BundleDamaged(ServiceError):
    """A bundle's file is missing, or not what its manifest says."""

    status, code = 422, "bundle_damaged"


class BundleUnusable(ServiceError):
    """The bundle is whole, and can't run here."""

    status, code = 422, "bundle_unusable"


class OtherAttributes(ServiceError):
    """The bundle has other attributes than the registered classes' sheets are of."""

    status, code = 409, "attribute_space"

    def __init__(self, detail: str, differ: Mapping[str, list[str]]) -> None:
        super().__init__(detail)
        self.differ = differ

    @property
    def members(self) -> dict[str, Any]:
        return dict(self.differ)


class SwapInProgress(ServiceError):
    """Another bundle is being loaded already."""

    status, code = 409, "swap_in_progress"


class SeveralWorkers(ServiceError):
    """One of several processes can't speak for the others."""

    status, code = 409, "several_workers"


class SheetRefused(RequestError):
    """One sheet, or what comes with it, can't be used."""

    def __init__(self, code: str, detail: str, *, index: int | None = None) -> None:
        super().__init__(422, code, detail, index=index)
