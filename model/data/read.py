"""Read a data set by what lies in its folder."""

from pathlib import Path

from model.data.cub import is_cub, read_cub
from model.data.folder import read_folder
from model.data.types import ZeroShotData
from model.errors import DatasetError


def read(root: Path, *, check_images: bool = True) -> ZeroShotData:
    """Read `root` with the reader of its layout: CUB's official one, else a folder of classes.

    Raises:
        DatasetError: there is no such folder, or `problems` names everything that is wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; give one with images/ and attributes.csv")
    reader = read_cub if is_cub(root) else read_folder
    return reader(root, check_images=check_images)
