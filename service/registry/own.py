"""`OwnClasses`: the bundle's own, which lie over every collection and are read-only."""

from collections.abc import Sequence

from model.bundle import BundleClass
from service.registry.records import ClassRecord, NewClass, own_record
from service.registry.store import bundle_class, name_taken


class OwnClasses:
    """What the bundle says of its classes; they are never stored."""

    def __init__(self, classes: Sequence[BundleClass]) -> None:
        self.records = {item.class_id: own_record(item) for item in classes}
        self._ids = {item.name: item.class_id for item in classes}

    def hiding(self, record: ClassRecord) -> str | None:
        """The id of the one that has a stored class's id or name: it was registered under another
        bundle, whose own classes were others."""
        summary = record.summary
        if summary.class_id in self.records:
            return summary.class_id
        return self._ids.get(summary.name)

    def refuse(self, class_id: str, index: int | None = None) -> None:
        """Raises: BundleClassError, for the id of one of them."""
        if class_id in self.records:
            raise bundle_class(class_id, index)

    def refuse_new(self, item: NewClass, index: int | None = None) -> None:
        """Raises: BundleClassError, NameTaken, where one of them has its id or its name."""
        self.refuse(item.class_id, index)
        if item.name in self._ids:
            raise name_taken(item.name, index)
