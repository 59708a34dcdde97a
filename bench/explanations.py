"""Whether explanations are true: take away what they name, and see what the class's score loses.

    python bench/explanations.py --data ../shared/data/birds [--bundle weights/birds] [--images 200]

For photographs of test_seen and their own classes:
- deletion: the fifth of the image that the class's heat marks hottest, a fifth drawn at random and
  the coldest fifth, painted in the image's mean colour;
- sheets: the five attributes that contribute most, and five drawn at random, set to the seen mean.

Means over the photographs, with their standard errors, of how far the logit falls.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from model import bundle as bundles
from model.data.read import read
from model.preprocess import to_input
from model.runtime.load import load
from service.usecases.explain import contributions, heat_of

SHARE = 0.2  # of the image
ATTRIBUTES = 5
DRAWS = 3  # at random, of each
LARGEST = 10**8  # pixels of a photograph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="weights/birds")
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    bundle = bundles.read(given.bundle)
    backend = load(bundle, "cpu", "auto", 0)
    space, temperature = bundle.manifest.attributes, bundle.manifest.temperature
    data = read(given.data, check_images=False)
    sheet_of = {item.class_id: item.attributes for item in bundle.classes}
    draw = np.random.default_rng(0)
    chosen = draw.choice(data.test_seen, min(given.images, len(data.test_seen)), replace=False)
    losses: dict[str, list[float]] = defaultdict(list)
    seconds = 0.0

    for number in chosen:
        pixels = to_input(data.images[number].read_bytes(), bundle.manifest.input_size, LARGEST)
        sheet = np.asarray(sheet_of[data.class_names[data.labels[number]]], np.float64)
        whole = backend.embed(pixels[None])
        embedding = whole.embedding[0]
        started = time.perf_counter()
        base, values = contributions(embedding, sheet, space.mean, backend.prototypes, temperature)
        seconds += time.perf_counter() - started
        logit = base + values.sum()

        heat = heat_of(values, whole.maps[0], space.tokens)
        order = np.argsort(-heat, axis=None)
        cells = round(SHARE * heat.size)
        gone = [order[:cells], order[-cells:]]
        gone += [draw.choice(heat.size, cells, replace=False) for _ in range(DRAWS)]
        images = np.stack([painted(pixels, np.isin(np.arange(heat.size), g)) for g in gone])
        prototype = backend.prototypes(sheet[None].astype(np.float32))[0]
        fallen = logit - backend.embed(images).embedding @ prototype / temperature
        losses["image: hottest fifth"].append(fallen[0])
        losses["image: coldest fifth"].append(fallen[1])
        losses["image: random fifth"].append(fallen[2:].mean())

        strongest = [np.argsort(-values)[:ATTRIBUTES]]
        random = [draw.choice(len(space), ATTRIBUTES, replace=False) for _ in range(DRAWS)]
        sheets = np.repeat(sheet[None].astype(np.float32), 1 + DRAWS, axis=0)
        for row, attributes in zip(sheets, strongest + random, strict=True):
            row[attributes] = space.mean[attributes]
        fallen = logit - backend.prototypes(sheets) @ embedding / temperature
        losses["sheet: strongest five"].append(fallen[0])
        losses["sheet: random five"].append(fallen[1:].mean())

    print(f"{len(chosen)} photographs; contributions take {seconds / len(chosen) * 1e3:.0f} ms")
    print("taken away              the logit falls by")
    for name, found in losses.items():
        print(f"{name:22} {np.mean(found):7.2f} ± {np.std(found) / len(found) ** 0.5:.2f}")


def painted(pixels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(S, S, 3) with some cells of a square grid (h w,) in the mean colour."""
    side = int(len(cells) ** 0.5)
    where = np.kron(cells.reshape(side, side), np.ones((len(pixels) // side,) * 2, bool))
    result = pixels.copy()
    result[where] = pixels.reshape(-1, 3).mean(axis=0).round()
    return result


if __name__ == "__main__":
    main()
