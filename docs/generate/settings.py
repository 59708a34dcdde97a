"""Every setting of the service, from `service.settings`."""

from typing import Any, Literal, get_args, get_origin

from docs.generate.markdown import code, kind_of, table
from service.settings import Settings

_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def page() -> str:
    rows = [
        (
            code(f"UMZERO_{name.upper()}"),
            _value(field),
            code(field.get_default()) or "empty",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        (
            "# Settings\n",
            "Each is a variable, and an option of `umzero serve` of the same name: "
            "`UMZERO_MAX_BATCH=8` is `--max-batch 8`. The option wins; an empty variable counts as "
            "none. Times are in seconds. [How to use them](../how-to/settings.md).\n",
            table(("variable", "value", "default", ""), rows),
        )
    )


def _value(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(code, get_args(field.annotation)))
    bounds = [
        text.format(getattr(rule, name))
        for rule in field.metadata
        for name, text in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([kind_of(field.annotation), *bounds])
