"""Forms (multipart/form-data), taken apart without files on a disk."""

from collections.abc import Iterable, Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import RequestError
from service.http.bodies import MULTIPART, media_type

IMAGE = "image"  # a field whose number has a code of its own


def check_form(content_type: str, names: Iterable[str]) -> None:
    """Refuse what is no form, before anything is read.

    Raises:
        RequestError: 415 `unsupported_media_type`.
    """
    if media_type(content_type) != MULTIPART:
        raise RequestError(
            415,
            "unsupported_media_type",
            f"Content-Type {media_type(content_type)[:100]!r} isn't multipart/form-data; send the "
            f"fields {', '.join(names)}",
        )


def fields(body: bytes, content_type: str, most: Mapping[str, int]) -> dict[str, list[bytes]]:
    """Some fields of a form, by name, in the order in which they came; the others are passed over.

    Args:
        most: field -> how often it may come.

    Raises:
        RequestError: 400 `multipart_invalid`, 422 `too_many_images`, `too_many_fields`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _broken_form("its Content-Type names no boundary")
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _broken_form(str(error)) from error
    if not form.complete:
        raise _broken_form("it ends before its last boundary")
    return {name: [bytes(value) for value in values] for name, values in form.fields.items()}


class _Form:
    """Collects the fields that are asked for, each so often at most."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self.fields: dict[str, list[bytearray]] = {name: [] for name in most}
        self.complete = False
        self._most = {name.encode(): (name, count) for name, count in most.items()}
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._part: bytearray | None = None  # None: of a field that nobody asked for

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        self._disposition = b""
        self._part = None

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        asked = self._most.get(options.get(b"name", b""))
        if asked is not None:
            name, most = asked
            if len(self.fields[name]) == most:
                raise too_many_images(most) if name == IMAGE else _too_often(name, most)
            self._part = bytearray()
            self.fields[name].append(self._part)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part += data[start:end]

    def _on_end(self) -> None:
        self.complete = True


def _broken_form(why: str) -> RequestError:
    return RequestError(400, "multipart_invalid", f"the form can't be read: {why}")


def too_many_images(max_images: int) -> RequestError:
    return RequestError(422, "too_many_images", f"a request takes at most {max_images} images")


def _too_often(name: str, most: int) -> RequestError:
    return RequestError(422, "too_many_fields", f"the form has more than {most} fields `{name}`")
