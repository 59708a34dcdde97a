"""`Classifier`: a bundle in this process, without HTTP."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from model import bundle as bundles
from model import heatmap, photographs, preprocess
from model import look as looking
from model.errors import ConfigError, SheetError
from model.preprocess import Box
from model.runtime.base import U8, Backend, Embedded
from model.runtime.load import load
from model.sheets import AttributeSpace, fill
from service.errors import UnknownClass
from service.registry.prototypes import prototypes_of
from service.registry.records import ClassRecord, ClassSummary, PhotographsMean, own_record
from service.registry.table import PrototypeTable
from service.usecases import explain as explaining
from service.usecases.ranking import Prediction, rank
from umzero.calls import Photograph, Sheet, encoded
from umzero.results import Explanation

DEFAULT_BUNDLE = Path("weights/birds")
_MAX_PIXELS = 200_000_000


class Predictions(list[Prediction]):
    """The classes of an image, best first.

    `known`: whether it shows any of the classes; None where the bundle can't tell.
    """

    known: bool | None = None


class Classifier:
    """Classifies images, and learns classes from sheets of attributes, and from photographs.

        classifier = Classifier("weights/birds")
        classifier.register("Red-faced Cormorant", {"has_bill_shape": "hooked_seabird"})
        classifier.classify("photo.jpg")[0].name

    Not for several threads at once. Registered classes are gone with the object.

    Args:
        bundle: the folder that `umzero train` wrote.
        device, precision, threads: as for `umzero serve`.
        backend: instead of the bundle's own network.

    Raises:
        WeightsError, BackendUnavailable
    """

    def __init__(
        self,
        bundle: Path | str = DEFAULT_BUNDLE,
        *,
        device: str = "cpu",
        precision: str = "auto",
        threads: int = 0,
        backend: Backend | None = None,
    ) -> None:
        self._bundle = bundles.read(bundle)
        self._backend = backend or load(self._bundle, device, precision, threads)
        self._made = prototypes_of(self._bundle, self._backend)
        self._records: dict[str, ClassRecord] = {}
        self._table = PrototypeTable()
        self._add([own_record(item) for item in self._bundle.classes])

    def register(
        self,
        name: str,
        attributes: Sheet | None = None,
        class_id: str | None = None,
        *,
        like: str | None = None,
        examples: Sequence[Photograph] = (),
    ) -> str:
        """Add a class; one that has its id, which is its name unless given, is replaced.

        Args:
            attributes: its sheet; with `like` what differs, if anything does.
            like: the id of a class to start from.
            examples: photographs of it: it is then compared by sheet and photographs together.

        Raises:
            SheetError: the sheet doesn't fit, or one of the bundle's own classes has the id.
            UnknownClass: no class has the id `like`.
            ImageError: not an image.
        """
        class_id = class_id or name
        if any(item.class_id == class_id for item in self._bundle.classes):
            raise SheetError(
                "bundle_class", f"{class_id!r} is one of the bundle's own classes; use another id"
            )
        if attributes is None:
            if like is None:
                raise SheetError("attribute_empty", "a class needs attributes, or like")
            attributes = {}
        base = None if like is None else self._record(like).attributes
        sheet = fill(attributes, self._space, base)
        summary = ClassSummary(
            class_id,
            name,
            False,
            sheet.given,
            sheet.filled,
            self._table.revision + 1,
            examples=len(examples),
        )
        mean = self._mean_of(examples) if examples else None
        self._add([ClassRecord(summary, sheet.values, mean=mean)])
        return class_id

    def classify(
        self,
        image: Photograph,
        *,
        top_k: int = 5,
        gamma: float | None = None,
        box: Box | None = None,
        look: int = 1,
        known_threshold: float | None = None,
    ) -> Predictions:
        """The classes that an image shows, best first, and whether it shows any of them.

        Args:
            image: an encoded image, the path of one, a Pillow image, or RGB pixels (H, W, 3).
            gamma: taken from the scores of seen classes; the bundle's when None.
            box: x, y, w, h in pixels: the part to look at.
            look: 2 looks again at where the first look found the object: twice the time, and a
                gain where the object takes less than half of the picture.
            known_threshold: the score, gamma taken off, below which the best class is not known;
                the bundle's when None.

        Raises:
            ImageError: not an image.
            ConfigError: `look` is neither 1 nor 2.
        """
        if look not in (1, 2):
            raise ConfigError(f"look is {look}; expected 1 or 2")
        photograph = _opened(image)
        embedded = self._embed(photograph, box)
        embedding = embedded.embedding[0]
        if look == 2:
            view = _view(photograph, box)
            found = looking.foreground(embedded.fine[0], embedded.coarse[0])
            window = looking.window(found, view)
            if window.share < 1:
                again = self._embed(photograph, window.box)
                embedding = looking.combined(embedding, again.embedding[0], window.share)
        manifest = self._bundle.manifest
        chosen = manifest.gamma if gamma is None else gamma
        ranking = rank(embedding, self._table, None, manifest.temperature, chosen, top_k)
        predictions = Predictions(ranking.predictions)
        predictions.known = ranking.is_known(manifest, known_threshold)
        return predictions

    def explain(self, image: Photograph, class_id: str, *, box: Box | None = None) -> Explanation:
        """What each attribute adds to a class's score.

        Raises:
            ImageError: not an image.
            UnknownClass: no class has this id.
        """
        found = self._explained(self._embed(_opened(image), box), class_id)
        return Explanation(
            found.class_id,
            found.name,
            found.logit,
            found.base,
            {item.name: item.contribution for item in found.contributions},
            {item.name: item.image for item in found.contributions},
            {item.name: item.sheet for item in found.contributions},
        )

    def explain_picture(
        self,
        image: Photograph,
        class_id: str,
        attribute: str | None = None,
        *,
        box: Box | None = None,
    ) -> bytes:
        """A PNG of where the attributes were read that spoke for a class, or one of them.

        Raises:
            ImageError: not an image.
            UnknownClass: no class has this id.
            SheetError: no attribute has this name.
        """
        space = self._space
        if attribute is not None and attribute not in space.index:
            raise SheetError("unknown_attribute", f"no attribute is called {attribute!r}")
        photograph = _opened(image)
        embedded = self._embed(photograph, box)
        if attribute is None:
            heat = self._explained(embedded, class_id).heat
        else:
            heat = embedded.maps[0, space.tokens[space.index[attribute]]]
        return heatmap.overlay(encoded(photograph), heat, _MAX_PIXELS, box)

    def close(self) -> None:
        """Free the network."""
        self._backend.close()

    @property
    def _space(self) -> AttributeSpace:
        return self._bundle.manifest.attributes

    def _add(self, records: Sequence[ClassRecord]) -> None:
        """Classes of one revision."""
        rows = self._made.of_sheets([record.attributes for record in records])
        written = {
            record.summary.class_id: self._made.with_photographs(record, row)
            for record, row in zip(records, rows, strict=True)
        }
        revision = max((record.summary.revision for record in records), default=0)
        self._table = self._table.advance(revision, written)
        self._records |= {record.summary.class_id: record for record in records}

    def _record(self, class_id: str) -> ClassRecord:
        if class_id not in self._records:
            raise UnknownClass(f"no class has the id {class_id!r}")
        return self._records[class_id]

    def _mean_of(self, examples: Sequence[Photograph]) -> PhotographsMean:
        pixels = np.stack([self._pixels(_opened(example)) for example in examples])
        mean = photographs.mean_of(self._backend.embed(pixels).embedding)
        return PhotographsMean(mean, self._bundle.sha256)

    def _explained(self, embedded: Embedded, class_id: str) -> explaining.Explanation:
        record = self._record(class_id)
        return explaining.explanation(
            self._bundle.manifest,
            self._made.of_other_sheets(record),
            record,
            embedded.embedding[0],
            embedded.attributes[0],
            embedded.maps[0],
        )

    def _embed(self, photograph: bytes | Image.Image, box: Box | None) -> Embedded:
        return self._backend.embed(self._pixels(photograph, box)[None])

    def _pixels(self, photograph: bytes | Image.Image, box: Box | None = None) -> U8:
        """(S, S, 3)."""
        size = self._bundle.manifest.input_size
        if isinstance(photograph, Image.Image):
            return preprocess.fit(photograph, size, box)
        return preprocess.to_input(photograph, size, _MAX_PIXELS, box)


def _opened(image: Photograph) -> bytes | Image.Image:
    """A file, which Pillow's pictures become, too: upright and without alpha; or RGB pixels."""
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    return encoded(image)


def _view(photograph: bytes | Image.Image, box: Box | None) -> Box:
    """What a look at `box` shows, in pixels."""
    if isinstance(photograph, Image.Image):
        return preprocess.clipped(photograph.size, box)
    return preprocess.region(photograph, _MAX_PIXELS, box)
