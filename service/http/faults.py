"""What can go wrong under a route, for OpenAPI: each fault's status, its code, and what it means.

A fault with a class of its own takes all three from there. The others are errors that carry their
code with them; a test compares this list with every one that the source can raise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service import errors


@dataclass(frozen=True)
class Fault:
    """`members`: what its problem has beside the usual."""

    status: int
    code: str
    meaning: str
    members: Mapping[str, Any] = field(default_factory=dict)
    retried: bool = False  # with `Retry-After`


def _of(kind: type[errors.ServiceError], **members: Any) -> Fault:
    meaning = " ".join((kind.__doc__ or "").split())
    return Fault(kind.status, kind.code, meaning, members, kind.retry_after_s is not None)


INTERNAL = Fault(500, errors.ServiceError.code, "Something went wrong on our side.")
VALIDATION = _of(
    errors.ValidationError,
    errors=[{"field": "query.top_k", "message": "Input should be a valid integer"}],
)
UNKNOWN_CLASS = _of(errors.UnknownClass)
UNKNOWN_MODEL = _of(errors.UnknownModel)
BUNDLE_CLASS = _of(errors.BundleClassError)
NO_CANDIDATES = _of(errors.NoCandidates)
NOT_READY = _of(errors.NotReady)
REVISION = _of(errors.RevisionUnavailable)
STORE = (_of(errors.StoreUnavailable), _of(errors.DeadlinePassed))
PRECONDITION = _of(errors.PreconditionFailed)
ONCE = (
    _of(errors.IdempotencyKeyReused),
    _of(errors.IdempotencyInProgress),
    Fault(400, "idempotency_key_invalid", "`Idempotency-Key` isn't 1 to 255 visible characters."),
)
NAME_TAKEN = _of(errors.NameTaken)
TAKEN = (_of(errors.ClassExists), NAME_TAKEN)
UNKNOWN_ATTRIBUTE = Fault(422, "unknown_attribute", "The bundle has no such attribute or value.")
ADMINISTERED = (
    Fault(404, "not_found", "The service has no `UMZERO_ADMIN_TOKEN`."),
    _of(errors.Unauthorized),
)
SWAP = (
    _of(errors.UnknownBundle),
    _of(errors.BundleDamaged),
    _of(errors.BundleUnusable),
    _of(errors.OtherAttributes, added=["has_crown::pink"], missing=[], moved=[]),
    _of(errors.SwapInProgress),
    _of(errors.SeveralWorkers),
)
CLASS_ID_MISMATCH = Fault(422, "class_id_mismatch", "`class_id` in the body isn't the path's.")

# Of every route that reads a body.
BODY = (
    NOT_READY,
    _of(errors.Overloaded),
    _of(errors.BodyTooLarge),
    _of(errors.BodyTimeout),
    Fault(415, "unsupported_encoding", "The body is compressed (`Content-Encoding`)."),
)
_JSON_INVALID = Fault(400, "json_invalid", "The body isn't JSON.")
JSON_BODY = (
    *BODY,
    VALIDATION,
    _JSON_INVALID,
    Fault(422, "duplicate_key", "A key comes twice in an object."),
    Fault(415, "unsupported_media_type", "The body's `Content-Type` isn't one of those listed."),
)
# Of a body of lines; what is wrong with a line is in the answer.
LINES = (
    *BODY,
    VALIDATION,
    Fault(415, "unsupported_media_type", "The body's `Content-Type` isn't NDJSON's."),
)
_TOO_MANY = Fault(422, "too_many_images", "More images than a request may have.")
# Of images, however they come.
_IMAGES = (
    _of(errors.DeadlinePassed),
    Fault(400, "base64_invalid", "An image isn't base64 (RFC 4648, section 4)."),
    Fault(413, "image_too_large", "An image has more pixels than are allowed."),
    Fault(422, "image_empty", "The image, or the whole body, has no bytes."),
    Fault(422, "image_truncated", "The image ends too early."),
    Fault(422, "image_unreadable", "The bytes are no image of a known format."),
    _TOO_MANY,
)
IMAGES = (
    *JSON_BODY,
    *_IMAGES,
    Fault(400, "multipart_invalid", "The form can't be read."),
    Fault(422, "image_missing", "The body holds no image."),
    Fault(422, "image_type", "An image in JSON isn't a string."),
)
TENSORS = (
    *BODY,
    *_IMAGES,
    _JSON_INVALID,
    Fault(422, VALIDATION.code, "A field is missing, or isn't what the protocol says."),
)
BOX = (
    Fault(422, "box_invalid", "`box` isn't x,y,w,h: finite numbers, w and h above 0."),
    Fault(422, "box_outside", "`box` doesn't overlap the image."),
)
EXAMPLES = (
    *(fault for fault in _IMAGES if fault is not _TOO_MANY),
    Fault(422, "image_type", "A photograph in `examples` isn't a string."),
)
SHEET = (
    Fault(422, "like_invalid", "`like` isn't a class's id."),
    Fault(422, "name_invalid", "`name` isn't 1 to 200 characters, or has control characters."),
    Fault(422, "class_id_invalid", "`class_id` isn't 1 to 100 of A-Z a-z 0-9 . _ -"),
    Fault(422, "metadata_invalid", "`metadata` isn't an object that JSON can keep."),
    Fault(422, "metadata_too_large", "`metadata` has more bytes than are kept."),
    UNKNOWN_ATTRIBUTE,
    Fault(422, "attribute_count", "A list of numbers isn't one number for each attribute."),
    Fault(422, "attribute_type", "A sheet, or a value in it, is of the wrong kind."),
    Fault(422, "attribute_empty", "The sheet, or a group in it, names nothing."),
    Fault(422, "attribute_repeated", "An attribute is given more than once."),
    Fault(422, "attribute_range", "A number lies outside its attribute's scale."),
    Fault(422, "attribute_not_finite", "A number is NaN or infinite."),
)
# Of a form with an image and a class.
PREVIEWED = (
    *IMAGES,
    *SHEET,
    Fault(422, "class_missing", "The form has no field `class`."),
    Fault(422, "too_many_fields", "A field of the form comes more often than it may."),
)
EXPLAINED = (
    Fault(422, "class_missing", "Neither `class_id` nor `class_ids` names a class."),
    Fault(422, "too_many_classes", "More classes than are explained at once."),
    UNKNOWN_ATTRIBUTE,
)
