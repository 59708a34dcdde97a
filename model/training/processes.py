"""The processes that train together, one a device, as `torchrun` starts them.

All of them run the same lines in the same order. What costs time is shared: each takes its share of
photographs or of a batch, and gets what the others made of theirs, so that a loss sees the whole
batch, as in one process. What is decided or written comes from the main one alone.
"""

import atexit
import gc
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from model.errors import BackendUnavailable, ConfigError

T = TypeVar("T")

# The longest that a process waits for another's share of the same work: it has died, or hangs.
SHARED = timedelta(minutes=30)
# The longest that the others wait for what the main one does alone, such as scoring a bundle.
ALONE_ON_MAIN = timedelta(days=1)


class Processes:
    """One process, which shares nothing and waits for nobody."""

    count = 1
    is_main = True
    device = torch.device("cpu")

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of (N, ...): the same number in each, the last row repeated where
        they don't divide N."""
        return rows

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Undo `share`: each process's rows -> all of them, (count, ...), in all processes.

        A loss of them is to be computed in full in each process; `averaged` then makes of its
        gradients what one process would have got from all rows.
        """
        return rows[:count]

    def agreed(self, value: T) -> T:
        """The main process's value, in all of them."""
        return value

    def from_main(self, make: Callable[[], T]) -> T:
        """What the main process makes, alone, while the others wait for it."""
        return make()

    def wait(self) -> None:
        """Until the main process has come as far."""
        self.agreed(None)

    def place(self, network: nn.Module) -> None:
        """Give a network the main process's parameters and buffers, on this process's device."""

    def averaged(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over the processes in each backward pass."""
        return module

    def seed(self, seed: int) -> None:
        """Have all draw the same random numbers, but for what they draw in `own_randomness`."""
        torch.manual_seed(seed)

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """For dropout: inside, each of several processes draws other numbers, lest images of one
        batch lose the same units; outside, all go on drawing the same. One process has a single
        stream, so what it draws outside depends on what it drew inside; in several it doesn't."""
        yield


ALONE = Processes()


class Together(Processes):
    """Processes that `torchrun` started: on GPUs with NCCL where there are any, else with gloo.

    Raises:
        BackendUnavailable: Lightning Fabric isn't installed.
        ConfigError: this machine has GPUs, but fewer than processes; or another machine has another
            number of processes.
    """

    def __init__(self) -> None:
        # Half a second, which one process alone need not wait.
        try:
            from lightning_fabric import Fabric  # noqa: PLC0415
            from lightning_fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackendUnavailable(
                f"several processes need the module {error.name}: pip install 'umzero[distributed]'"
            ) from error
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if 0 < gpus < here:
            raise ConfigError(
                f"{here} processes on a machine with {gpus} GPUs; give torchrun --nproc-per-node "
                f"{gpus}, or CUDA_VISIBLE_DEVICES= to train on the CPU"
            )
        machines, everywhere = int(os.environ["GROUP_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if here * machines != everywhere:
            raise ConfigError(
                f"--nproc-per-node is {here} on this one of {machines} machines, which makes no "
                f"{everywhere} processes; give torchrun the same on each"
            )
        self._fabric = Fabric(
            accelerator="cuda" if gpus else "cpu",
            strategy=DDPStrategy(timeout=SHARED, forward_sync_buffers=False),
            devices=here,
            num_nodes=machines,
        )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        # Fabric's own call, in `all_gather`.
        warnings.filterwarnings("ignore", r"torch\.distributed\.nn\.functional\.all_gather is dep")
        self._fabric.launch()
        self._seeds = torch.Generator()
        # What isn't a tensor goes from CPU to CPU, also beside NCCL.
        self._control = torch.distributed.new_group(timeout=SHARED, backend="gloo")
        self._patient = torch.distributed.new_group(timeout=ALONE_ON_MAIN, backend="gloo")
        self.count, self.device = self._fabric.world_size, self._fabric.device
        self.is_main = self._fabric.is_global_zero
        atexit.register(self._end)

    def _end(self) -> None:
        """End gloo's threads while Python is still whole: one of them that lets go of a tensor
        later aborts the process (pytorch/pytorch#179291). A group ends them when nobody has it."""
        del self._control, self._patient
        torch.distributed.destroy_process_group()
        gc.collect()

    def share(self, rows: Tensor) -> Tensor:
        size = -(-len(rows) // self.count)
        start = self._fabric.global_rank * size
        return rows[torch.arange(start, start + size).clamp(max=len(rows) - 1)]

    def gather(self, rows: Tensor, count: int) -> Tensor:
        # The gradients that come back are summed over the processes.
        gathered = self._fabric.all_gather(rows, sync_grads=rows.requires_grad)
        assert isinstance(gathered, Tensor)
        return gathered.reshape(-1, *rows.shape[1:])[:count].to(rows.device)

    def agreed(self, value: T) -> T:
        return _broadcast(value, self._control)

    def from_main(self, make: Callable[[], T]) -> T:
        return cast(T, _broadcast(make() if self.is_main else None, self._patient))

    def place(self, network: nn.Module) -> None:
        network.load_state_dict(self.agreed(network.state_dict()))
        network.to(self.device)

    def averaged(self, module: nn.Module) -> nn.Module:
        return self._fabric.setup_module(module)

    def seed(self, seed: int) -> None:
        super().seed(seed)
        self._seeds.manual_seed(seed)

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        seed = int(torch.randint(2**31, (), generator=self._seeds)) + self._fabric.global_rank
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield


def _broadcast(value: T, group: torch.distributed.ProcessGroup) -> T:
    values = [value]
    torch.distributed.broadcast_object_list(values, 0, group)
    return values[0]


def launched() -> Processes:
    """Those that `torchrun` started with this one; without it, this one alone."""
    return Together() if torch.distributed.is_torchelastic_launched() else ALONE
