"""`/admin`."""

from service.http.examples.words import REVISION, Example, Words


def of_admin(words: Words) -> dict[str, Example]:
    before = {"bundle": "before", "folder": "before", "sha256": "0" * 64}
    served = {
        "bundle": words.bundle,
        "folder": words.folder,
        "sha256": words.sha256,
        "classes": words.class_count,
        "revision": REVISION,
    }
    return {
        "get_bundle": Example(
            answers={
                "since the start": {**served, "previous": None},
                "after a swap": {**served, "previous": before},
            }
        ),
        "list_collections": Example(
            answers={
                "two": {
                    "collections": [
                        {"collection": "default", "classes": 12},
                        {"collection": "fleet-a", "classes": 3},
                    ],
                    "revision": REVISION,
                }
            }
        ),
        "swap_bundle": Example(
            bodies={"by its folder's name": {"bundle": words.folder}},
            answers={"swapped": {**served, "previous": before, "seconds": 1.9}},
        ),
    }
