"""`/classes` and `/attributes`."""

from service.http.examples.words import IMAGE, NEW_CLASS, REVISION, Example, Words


def of_classes(words: Words) -> dict[str, Example]:
    by_group = {"name": "New class", "attributes": words.by_group}
    by_name = {"name": "New class", "attributes": words.by_name, "metadata": {"source": "a guide"}}
    several = [
        {"class_id": "first-of-two", "name": "First of two", "attributes": words.by_group},
        {"class_id": "second-of-two", "name": "Second of two", "attributes": words.by_name},
    ]
    own = [
        {
            **words.registered(name),
            "class_id": class_id,
            "seen": True,
            "origin": "bundle",
            "given": words.count,
            "filled": 0,
            "revision": 0,
            "created_at": None,
            "examples": 0,
        }
        for class_id, name in words.classes[:1]
    ]
    near = [
        {"class_id": class_id, "name": name, "seen": True, "similarity": 0.81}
        for class_id, name in words.classes[:1]
    ]
    made = {"classes": [words.registered()], "revision": REVISION}
    return {
        "list_attributes": Example(
            answers={"the first two": {"count": words.count, "attributes": words.scale}}
        ),
        "list_classes": Example(
            parameters={"limit": 10, "after": words.first},
            answers={
                "a page of two": {
                    "classes": [*own, words.registered()],
                    "next": NEW_CLASS,
                    "revision": REVISION,
                }
            },
        ),
        "get_class": Example(
            parameters={"class_id": words.first},
            answers={
                "a registered class": {
                    **words.registered(),
                    "attributes": list(words.by_name.values()),
                    "metadata": {"source": "a guide"},
                }
            },
        ),
        "get_neighbours": Example(
            parameters={"class_id": words.first, "limit": 3},
            answers={
                "the nearest": {
                    "class_id": NEW_CLASS,
                    "neighbours": near,
                    "revision": REVISION,
                }
            },
        ),
        "register_classes": Example(
            bodies={
                "by group, as people speak": {"class_id": NEW_CLASS, **by_group},
                "several, by attribute": {"classes": several},
                "like another class, with a photograph": {
                    "name": "Like another one",
                    "like": words.first,
                    "attributes": words.by_group,
                    "examples": [IMAGE],
                },
            },
            answers={
                "registered": made,
                "nearly another class": {**made, "warnings": [words.lookalike()]},
            },
        ),
        "import_classes": Example(
            parameters={"skip_existing": True},
            bodies={"one line": several[0]},
            answers={
                "one of two": {
                    "registered": 1,
                    "skipped": 0,
                    "failed": 1,
                    "problems": [{"line": 2, "problem": words.taken()}],
                    "revision": REVISION,
                }
            },
        ),
        "export_classes": Example(answers={"one line": several[1]}),
        "replace_class": Example(
            parameters={"class_id": NEW_CLASS},
            bodies={"by group, as people speak": by_group, "by attribute": by_name},
            answers={
                "replaced": words.registered(),
                "nearly another class": {**words.registered(), "warnings": [words.lookalike()]},
            },
        ),
        "remove_class": Example(
            parameters={"class_id": NEW_CLASS},
            answers={"removed": {"class_id": NEW_CLASS, "revision": REVISION + 1}},
        ),
    }
