"""Bodies of `/classify` taken apart."""

import base64
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RequestError, ServiceError
from service.http import bodies
from service.http.images import Images, images_in

PIXELS = bytes(range(256)) * 3
JSON = "application/json"


def form(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    """A form as httpx, which is no part of the service, writes it."""
    files = [(name, ("file.jpg", data, "image/jpeg")) for name, data in parts]
    request = httpx.Request("POST", "http://x", files=files)
    return request.read(), request.headers["content-type"]


def taken(body: bytes, content_type: str, max_bytes: int = 10_000, most: int = 5) -> Images:
    return images_in(body, content_type, max_bytes, most)


def code_of(body: bytes, content_type: str, **limits: int) -> tuple[int, str]:
    with pytest.raises(RequestError) as refused:
        taken(body, content_type, **limits)
    return refused.value.status, refused.value.code


@pytest.mark.parametrize("kind", ["", "image/jpeg", "IMAGE/PNG; x=y", "application/octet-stream"])
def test_a_raw_body_is_the_image(kind: str) -> None:
    assert taken(PIXELS, kind) == [PIXELS]


def test_a_form_yields_its_image_fields_in_order() -> None:
    one = taken(*form(("image", PIXELS)))
    two = taken(*form(("image", b"a"), ("other", b"b"), ("image", b"c\r\n--d")))

    assert (one, one.several) == ([PIXELS], False)
    assert (two, two.several) == ([b"a", b"c\r\n--d"], True)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_any_bytes_come_through_a_form_and_through_base64(images: list[bytes]) -> None:
    encoded = [base64.b64encode(image).decode() for image in images]

    assert taken(*form(*(("image", image) for image in images))) == images
    assert taken(json.dumps({"image": encoded}).encode(), JSON) == images


@given(st.binary(max_size=400), st.sampled_from(["multipart/form-data; boundary=b", JSON]))
def test_any_body_is_taken_or_refused_with_a_code(body: bytes, content_type: str) -> None:
    found: object = None
    refused = 0
    try:
        found = taken(body, content_type)
    except ServiceError as error:
        refused = error.status

    assert bool(found) != (400 <= refused < 500)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PIXELS).decode(),
        "data:image/jpeg;base64," + base64.b64encode(PIXELS).decode(),
        base64.encodebytes(PIXELS).decode(),
    ],
    ids=["plain", "data url", "wrapped lines"],
)
def test_base64_is_read_as_people_write_it(text: str) -> None:
    found = taken(json.dumps({"image": text}).encode(), JSON + "; charset=utf-8")

    assert (found, found.several) == ([PIXELS], False)


def test_a_list_is_several_even_if_it_has_one() -> None:
    assert taken(json.dumps({"image": ["QUJD"]}).encode(), JSON).several


def test_one_bad_image_of_several_is_an_error_in_its_place() -> None:
    body = json.dumps({"image": ["QUJD", "!!!", 7, "QUJDREVG"]}).encode()

    first, second, third, fourth = taken(body, JSON, max_bytes=5)

    assert first == b"ABC"
    found = [e.code for e in (second, third, fourth) if isinstance(e, RequestError)]
    assert found == ["base64_invalid", "image_type", "body_too_large"]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "image/jpeg", (422, "image_empty")),
        (b"", JSON, (422, "image_empty")),
        (b"{", JSON, (400, "json_invalid")),
        (b"\xff\xfe\xfd", JSON, (400, "json_invalid")),
        (b"[" * 100_000, JSON, (400, "json_invalid")),
        (b"9" * 10_000, JSON, (400, "json_invalid")),
        (b"[]", JSON, (422, "image_missing")),
        (b"{}", JSON, (422, "image_missing")),
        (b'{"image": []}', JSON, (422, "image_missing")),
        (b'{"image": "QUJD", "top_k": 1}', JSON, (422, "validation")),
        (b'{"image": "QUJD", "image": "QUJD"}', JSON, (422, "duplicate_key")),
        (b'{"image": 5}', JSON, (422, "image_type")),
        (b'{"image": "a"}', JSON, (400, "base64_invalid")),
        (b'{"image": ["QQ==","QQ==","QQ==","QQ==","QQ==","QQ=="]}', JSON, (422, "too_many_images")),
        (b"x", "multipart/form-data", (400, "multipart_invalid")),
        (b"x", "multipart/form-data; boundary=b", (400, "multipart_invalid")),
        (b"--b\r\n", "multipart/form-data; boundary=b", (400, "multipart_invalid")),
        (b"x", f"multipart/form-data; boundary={'b' * 257}", (400, "multipart_invalid")),
    ],
)
def test_a_body_that_can_not_be_used_has_a_code(
    body: bytes, content_type: str, expected: tuple[int, str]
) -> None:
    assert code_of(body, content_type) == expected


def test_a_body_of_more_values_than_images_is_refused_before_it_is_parsed() -> None:
    broken = b'{"image": [' + b"[]," * 2001

    assert code_of(broken, JSON, most=500) == (422, "too_many_images")
    assert code_of(broken, JSON, most=501) == (400, "json_invalid")


def test_as_many_images_as_are_allowed_may_all_be_data_urls() -> None:
    urls = ["data:image/jpeg;base64,QUJD"] * 5000

    assert taken(json.dumps({"image": urls}).encode(), JSON, most=5000) == [b"ABC"] * 5000


def test_a_form_that_breaks_off_is_refused() -> None:
    body, content_type = form(("image", PIXELS))

    assert code_of(body[:-20], content_type) == (400, "multipart_invalid")


def test_a_form_without_the_field_says_so() -> None:
    assert code_of(*form(("picture", PIXELS))) == (422, "image_missing")


def test_limits_count_images_and_their_bytes() -> None:
    six = form(*[("image", b"x")] * 6)

    assert code_of(*six) == (422, "too_many_images")
    assert code_of(*form(("image", PIXELS)), max_bytes=100) == (413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "imagex/png"])
def test_other_media_types_are_refused(kind: str) -> None:
    with pytest.raises(RequestError) as refused:
        bodies.check_media_type(kind)

    assert (refused.value.status, refused.value.code) == (415, "unsupported_media_type")


def test_a_key_that_comes_twice_is_found_among_many() -> None:
    pairs = ",".join(f'"k{number}": 1' for number in range(200_000))

    with pytest.raises(RequestError, match="'k199999' comes twice"):
        bodies.json_value(f'{{{pairs}, "k199999": 2}}'.encode())
