"""`Classifier`: a bundle in this process, without HTTP."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model import bundle as bundles
from model import heatmap, preprocess
from model import look as looking
from model.errors import ConfigError, SheetError
from model.preprocess import Box
from model.runtime.base import F64, Backend, Embedded
from model.runtime.load import load
from model.sheets import fill
from service.errors import UnknownClass
from service.registry.records import ClassSummary
from service.registry.table import PrototypeTable
from service.usecases.classify import Prediction, rank
from service.usecases.explain import contributions, heat_of
from umzero.calls import Photograph, Sheet, encoded
from umzero.results import Explanation

DEFAULT_BUNDLE = Path("weights/birds")
_MAX_PIXELS = 200_000_000


class Classifier:
    """Classifies images, and learns classes from sheets of attributes.

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
        own = self._bundle.classes
        rows: dict[str, Any] = {}
        self._sheets = {item.class_id: np.array(item.attributes, np.float64) for item in own}
        if own:
            sheets = np.array([item.attributes for item in own], np.float32)
            for item, prototype in zip(own, self._backend.prototypes(sheets), strict=True):
                given = len(item.attributes)
                summary = ClassSummary(item.class_id, item.name, True, given, 0, 0)
                rows[item.class_id] = (summary, prototype)
        self._table = PrototypeTable().advance(0, rows)

    def register(
        self,
        name: str,
        attributes: Sheet,
        class_id: str | None = None,
    ) -> str:
        """Add a class; one that has its id, which is its name unless given, is replaced.

        Raises:
            SheetError: the sheet doesn't fit, or one of the bundle's own classes has the id.
        """
        class_id = class_id or name
        if any(item.class_id == class_id for item in self._bundle.classes):
            raise SheetError(
                "bundle_class", f"{class_id!r} is one of the bundle's own classes; use another id"
            )
        sheet = fill(attributes, self._bundle.manifest.attributes)
        prototype = self._backend.prototypes(sheet.values[None, :].astype(np.float32))[0]
        revision = self._table.revision + 1
        summary = ClassSummary(class_id, name, False, sheet.given, sheet.filled, revision)
        self._table = self._table.advance(revision, {class_id: (summary, prototype)})
        self._sheets[class_id] = sheet.values
        return class_id

    def classify(
        self,
        image: Photograph,
        *,
        top_k: int = 5,
        gamma: float | None = None,
        box: Box | None = None,
        look: int = 1,
    ) -> list[Prediction]:
        """The classes that an image shows, best first.

        Args:
            image: an encoded image, the path of one, a Pillow image, or RGB pixels (H, W, 3).
            gamma: taken from the scores of seen classes; the bundle's when None.
            box: x, y, w, h in pixels: the part to look at.
            look: 2 looks again at where the first look found the object: twice the time, and a
                gain where the object takes less than half of the picture.

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
        return rank(embedding, self._table, None, manifest.temperature, chosen, top_k).predictions

    def explain(self, image: Photograph, class_id: str, *, box: Box | None = None) -> Explanation:
        """What each attribute adds to a class's score.

        Raises:
            ImageError: not an image.
            UnknownClass: no class has this id.
        """
        embedded = self._embed(_opened(image), box)
        base, values = self._contributions(embedded, class_id)
        names, sheet = self._bundle.manifest.attributes.names, self._sheets[class_id]
        order = np.argsort(-np.abs(values), kind="stable")
        row = self._table.find(class_id)
        assert row is not None
        return Explanation(
            class_id,
            self._table.at(row).name,
            base + float(values.sum()),
            base,
            {names[i]: float(values[i]) for i in order},
            {names[i]: float(embedded.attributes[0, i]) for i in order},
            {names[i]: float(sheet[i]) for i in order},
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
        space = self._bundle.manifest.attributes
        if attribute is not None and attribute not in space.index:
            raise SheetError("unknown_attribute", f"no attribute is called {attribute!r}")
        photograph = _opened(image)
        embedded = self._embed(photograph, box)
        if attribute is None:
            _, values = self._contributions(embedded, class_id)
            heat = heat_of(values, embedded.maps[0], space.tokens)
        else:
            heat = embedded.maps[0, space.tokens[space.index[attribute]]]
        return heatmap.overlay(encoded(photograph), heat, _MAX_PIXELS, box)

    def close(self) -> None:
        """Free the network."""
        self._backend.close()

    def _contributions(self, embedded: Embedded, class_id: str) -> tuple[float, F64]:
        """The mean sheet's logit, and what each attribute (A,) adds."""
        if class_id not in self._sheets:
            raise UnknownClass(f"no class has the id {class_id!r}")
        manifest = self._bundle.manifest
        return contributions(
            embedded.embedding[0],
            self._sheets[class_id],
            manifest.attributes.mean,
            self._backend.prototypes,
            manifest.temperature,
        )

    def _embed(self, photograph: bytes | Image.Image, box: Box | None) -> Embedded:
        size = self._bundle.manifest.input_size
        if isinstance(photograph, Image.Image):
            pixels = preprocess.fit(photograph, size, box)
        else:
            pixels = preprocess.to_input(photograph, size, _MAX_PIXELS, box)
        return self._backend.embed(pixels[None])


def _opened(image: Photograph) -> bytes | Image.Image:
    """A file, or RGB pixels."""
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    if isinstance(image, Image.Image):
        # As a file, it takes the same way as every other: upright, and without an alpha channel.
        file = io.BytesIO()
        image.save(file, "PNG" if image.mode in _PNG_MODES else "TIFF", exif=image.getexif())
        image = file.getvalue()
    if isinstance(image, str | Path):
        image = Path(image).read_bytes()
    return image


def _view(photograph: bytes | Image.Image, box: Box | None) -> Box:
    """What a look at `box` shows, in pixels."""
    if isinstance(photograph, Image.Image):
        return preprocess.clipped(photograph.size, box)
    return preprocess.region(photograph, _MAX_PIXELS, box)


_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}
