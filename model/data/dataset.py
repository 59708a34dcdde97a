"""Images as the network takes them, decoded by the code that the service decodes with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from model import preprocess
from model.data.images import MAX_PIXELS
from model.errors import DatasetError, ImageError


class ImageDataset(Dataset[Tensor]):
    """Image files as uint8 tensors of shape (S, S, 3), in the order of `paths`."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self._paths = tuple(paths)
        self._size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        """
        Raises:
            DatasetError: the file can't be read or decoded; the message names it.
        """
        path = self._paths[index]
        try:
            image = preprocess.to_input(path.read_bytes(), self._size, MAX_PIXELS)
        except (OSError, ImageError) as error:
            # DatasetError crosses from a loader's worker process; ImageError takes two arguments.
            raise DatasetError(f"{path} can't be used: {error}") from error
        return torch.tensor(image)
