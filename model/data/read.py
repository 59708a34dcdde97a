"""Read a data set by what lies in its folder."""

from pathlib import Path

from model.data.awa2 import is_awa2, read_awa2
from model.data.cub import is_cub, read_cub
from model.data.folder import read_folder
from model.data.sun import is_sun, read_sun
from model.data.types import ZeroShotData
from model.errors import DatasetError

LAYOUTS = ((is_cub, read_cub), (is_sun, read_sun), (is_awa2, read_awa2))


def read(root: Path, *, check_images: bool = True) -> ZeroShotData:
    """Read `root` with the reader of its layout: an official one, else a folder of classes.

    Raises:
        DatasetError: there is no such folder, or `problems` names everything that is wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; give one with images/ and attributes.csv")
    for has_layout, reader in LAYOUTS:
        if has_layout(root):
            return reader(root, check_images=check_images)
    return read_folder(root, check_images=check_images)
