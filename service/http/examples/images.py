"""`/classify`, `/preview`, `/explain` and `/describe`."""

from service.http.examples.words import FILE, IMAGE, NEW_CLASS, REVISION, Example, Words
from service.http.problems import problem


def of_images(words: Words) -> dict[str, Example]:
    images = {"one image": {"image": IMAGE}, "several images": {"image": [IMAGE, IMAGE]}}
    told = {"bundle": words.bundle, "revision": REVISION}
    timings = {"decode": 2.2, "inference": 8.2, "score": 0.6, "total": 11.7}
    unusable = problem(422, "image_unreadable", "the bytes are no image of a known format")
    question = {
        "top_k": 3,
        "classes": words.ids,
        "scope": "all",
        "gamma": 0.5,
        "min_revision": 0,
        "box": "4,4,24,24",
        "look": 2,
        "known_threshold": 9.5,
    }
    draft = {
        "class_id": NEW_CLASS,
        "name": "New class",
        "score": 17.5,
        "probability": 0.71,
        "seen": False,
        "draft": True,
    }
    rivals = [item | {"probability": 0.29} for item in words.predictions()[:1]]
    contributions = zip(words.names, (3.1, -0.4), strict=False)
    return {
        "classify": Example(
            parameters=question,
            bodies=images,
            answers={
                "one image": {**words.result(), **told, "timings_ms": timings},
                "several images, one of them unusable": {
                    "results": [words.result(), {"problem": unusable}],
                    **told,
                    "timings_ms": timings,
                },
            },
        ),
        "preview": Example(
            parameters=question,
            bodies={
                "by group, as people speak": {
                    "image": FILE,
                    "class": {"name": "New class", "attributes": words.by_group},
                }
            },
            answers={
                "the draft comes first": {
                    **words.result(),
                    "predictions": [draft, *rivals],
                    **told,
                    "timings_ms": timings,
                }
            },
        ),
        "explain": Example(
            parameters={
                "class_id": words.first,
                "class_ids": words.ids,
                "attribute": words.names[0],
                "box": "4,4,24,24",
            },
            bodies={"one image": {"image": IMAGE}},
            answers={
                "one class": {
                    "explanations": [
                        {
                            "class_id": words.first,
                            "name": words.classes[0][1] if words.classes else "New class",
                            "logit": 16.5,
                            "base": 13.8,
                            "contributions": [
                                {"name": name, "contribution": part, "image": 96.4, "sheet": 90.0}
                                for name, part in contributions
                            ],
                            "heat": words.flat(),
                        }
                    ],
                    "maps": [{"attributes": words.token, "map": words.flat()}],
                    "bundle": words.bundle,
                }
            },
        ),
        "describe": Example(
            parameters={"box": "4,4,24,24"},
            bodies=images,
            answers={
                "two images": {
                    "attributes": dict.fromkeys(words.names, 51.3),
                    "spread": dict.fromkeys(words.names, 4.2),
                    "images": 2,
                    "bundle": words.bundle,
                }
            },
        ),
    }
