"""One example for each operation of OpenAPI, in words of the bundle that is served.

Every request among them works when it is sent: `/docs` fills it in, and a test sends it.
"""

from collections.abc import Mapping

from model.bundle import Bundle
from service.http.examples.admin import of_admin
from service.http.examples.classes import of_classes
from service.http.examples.health import of_health
from service.http.examples.images import of_images
from service.http.examples.protocol import of_protocol
from service.http.examples.words import Example, Words


def examples_of(bundle: Bundle) -> Mapping[str, Example]:
    """Operation id -> its example."""
    words = Words(bundle)
    return {
        **of_images(words),
        **of_classes(words),
        **of_admin(words),
        **of_health(),
        **of_protocol(words),
    }
