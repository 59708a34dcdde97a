"""`Prototypes`: what the registry's classes are compared by: from sheets, and from photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model import photographs
from model.bundle import Bundle
from model.runtime.base import F32, F64, Backend
from service.registry.records import ClassRecord, ClassSummary

CHUNK = 1024


Stored = Callable[[str], Sequence[bytes]]  # id -> the photographs of a class


def _none(_: str) -> Sequence[bytes]:
    return ()


@dataclass(frozen=True)
class Prototypes:
    """Of one bundle's network.

    `stored` is asked for a class's photographs where their mean is of another network.

    Attributes:
        network: (C, A) -> (C, D), called with at most `CHUNK` rows.
        mean_of: photographs as they are stored -> (D,), the unit mean of their embeddings.
        bundle: its sha256: means that another one made are not used.
        sheet_counts: see `model.photographs`.
    """

    network: Callable[[F32], F32]
    mean_of: Callable[[Sequence[bytes]], F32]
    bundle: str = ""
    sheet_counts: float = photographs.SHEET_COUNTS

    def of_sheets(self, sheets: Sequence[F64]) -> list[F32]:
        """Sheets (A,) -> prototypes (D,)."""
        rows: list[F32] = []
        for start in range(0, len(sheets), CHUNK):
            chunk = np.stack(sheets[start : start + CHUNK]).astype(np.float32)
            prototypes = self.network(chunk)
            if len(prototypes) != len(chunk) or not np.isfinite(prototypes).all():
                raise RuntimeError(f"{len(chunk)} sheets gave no {len(chunk)} finite prototypes")
            rows.extend(prototypes)
        return rows

    def with_photographs(
        self, record: ClassRecord, row: F32, stored: Stored = _none
    ) -> tuple[ClassSummary, F32]:
        """A class and its sheet's prototype (D,) -> both as they are with its photographs."""
        mean = self.photographs_mean(record, stored)
        if mean is None:
            return record.summary, row
        share = photographs.familiarity(record.summary.examples, self.sheet_counts)
        summary = replace(record.summary, photographs_share=share)
        return summary, photographs.blended(row, mean, share)

    def of_other_sheets(self, record: ClassRecord, stored: Stored = _none) -> Callable[[F32], F32]:
        """What a class would be compared by under other sheets: (C, A) -> (C, D)."""
        mean = self.photographs_mean(record, stored)
        if mean is None:
            return self.network
        share = photographs.familiarity(record.summary.examples, self.sheet_counts)
        return lambda sheets: photographs.blended(self.network(sheets), mean, share)

    def photographs_mean(self, record: ClassRecord, stored: Stored = _none) -> F32 | None:
        """(D,), None of a class without photographs, or whose photographs are gone."""
        if record.mean is None:
            return None
        if record.mean.bundle == self.bundle:
            return record.mean.vector
        again = stored(record.summary.class_id)
        return self.mean_of(again) if again else None


def prototypes_of(bundle: Bundle, backend: Backend) -> Prototypes:
    """What a bundle's network makes, by this backend."""
    size = bundle.manifest.input_size

    def mean_of(stored: Sequence[bytes]) -> F32:
        return photographs.mean_of(backend.embed(photographs.decoded(stored, size)).embedding)

    sheet_counts = bundle.manifest.calibration.get("sheet_counts", photographs.SHEET_COUNTS)
    return Prototypes(backend.prototypes, mean_of, bundle.sha256, float(sheet_counts))
