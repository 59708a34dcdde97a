"""A file of a bundle, checked against the manifest before anything makes sense of it."""

import hashlib

from model.bundle import Bundle
from model.errors import WeightsError


def content(bundle: Bundle, name: str, without: str) -> bytes:
    """The file's bytes.

    Args:
        without: what to do where there is no such file.

    Raises:
        WeightsError: it can't be read, or its sha256 is not the manifest's.
    """
    path = bundle.path / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}). {without}") from error
    expected = bundle.manifest.files.get(name)
    if (actual := hashlib.sha256(data).hexdigest()) != expected:
        raise WeightsError(
            f"{path} has sha256 {actual}, the manifest says {expected}. "
            "The bundle is damaged: get it again, or run `umzero verify`"
        )
    return data
