"""A small zero-shot problem drawn by code: coloured shapes on coloured grounds.

`python -m tests.shapes FOLDER` draws it for people.
"""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
SHAPES = ("disc", "square", "bar")
UNSEEN = ("red_square", "blue_bar")
PER_CLASS = 10


def draw(colour: str, shape: str, rng: np.random.Generator) -> Image.Image:
    ground = tuple(int(v) for v in rng.integers(90, 160, 3))
    image = Image.new("RGB", (72, 72), ground)
    x, y = (int(v) for v in rng.integers(10, 24, 2))
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        pen.ellipse((x, y, x + 36, y + 36), fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle((x, y, x + 34, y + 34), fill=COLOURS[colour])
    else:
        pen.rectangle((x, y + 12, x + 44, y + 20), fill=COLOURS[colour])
    return image


def write_shapes(root: Path) -> None:
    """A folder in the layout of anyone's own data: 9 classes, 2 of them unseen."""
    rng = np.random.default_rng(0)
    lines = [
        "class," + ",".join([f"colour::{c}" for c in COLOURS] + [f"shape::{s}" for s in SHAPES])
    ]
    names = []
    for colour, shape in product(COLOURS, SHAPES):
        name = f"{colour}_{shape}"
        names.append(name)
        values = [100 * (c == colour) for c in COLOURS] + [100 * (s == shape) for s in SHAPES]
        lines.append(name + "," + ",".join(str(v) for v in values))
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        for i in range(PER_CLASS):
            draw(colour, shape, rng).save(root / "images" / name / f"{i}.png")
    (root / "attributes.csv").write_text("\n".join(lines) + "\n")
    seen = [name for name in names if name not in UNSEEN]
    splits = {"seen": seen, "unseen": list(UNSEEN), "validation": seen[:2]}
    (root / "splits.json").write_text(json.dumps(splits))


@pytest.fixture(scope="session")
def shapes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root)
    return root


if __name__ == "__main__":
    write_shapes(Path(sys.argv[1]))
