"""`Generations`: the one that admits, and those before it that requests may still use.

Nobody hands a generation back. Instead requests are counted by the epoch that they began in, and a
swap ends an epoch: whoever still uses the old generation began in it or earlier, so once those
epochs are empty it can be closed.
"""

import asyncio
import logging

from service.engine.generation import Generation

log = logging.getLogger(__name__)


class Epoch:
    """The time between two swaps. A context that counts the requests that began in it."""

    def __init__(self) -> None:
        self.users = 0
        self._is_over = False
        self._empty = asyncio.Event()

    def __enter__(self) -> None:
        self.users += 1

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        self._settle()

    async def emptied(self) -> None:
        """Wait for the last of its requests; no more may begin in it."""
        self._is_over = True
        self._settle()
        await self._empty.wait()

    def give_up(self) -> None:
        """Wait for nobody."""
        self._empty.set()

    def _settle(self) -> None:
        if self._is_over and not self.users:
            self._empty.set()


class Generations:
    """All of it happens on the event loop.

    Attributes:
        current: admits.
        epoch: every request runs inside the one that it finds when it begins.
    """

    def __init__(self, first: Generation) -> None:
        self.current = first
        self.epoch = Epoch()
        self._over: list[Epoch] = []  # and not empty yet
        self._following: asyncio.Task[None] | None = None
        self._retiring: asyncio.Task[None] | None = None

    async def succeed(self, following: Generation) -> None:
        """Let a generation that is warm admit from now on; the one before it is closed in its time.

        Raises:
            StoreUnavailable: nothing has changed.
        """
        before = self.current
        # In this order: what is written before the refresh is read by it, and what is written
        # later, by requests that the old generation admitted, is told to the new one.
        before.registry.successor = following.registry
        try:
            await following.registry.call(following.registry.refresh)
        except BaseException:
            before.registry.successor = None
            raise
        self.current = following
        epoch, self.epoch = self.epoch, Epoch()
        self._over.append(epoch)
        self._retiring = asyncio.create_task(self._retire(before, epoch, self._retiring))
        if self._following is not None:
            self._following.cancel()

    async def follow(self, interval_s: float) -> None:
        """Keep the current generation's registry in step with the store, until cancelled."""
        while True:
            self._following = asyncio.create_task(self.current.registry.follow(interval_s))
            try:
                await asyncio.wait([self._following])  # a swap cancels it
            finally:
                self._following.cancel()

    async def close(self) -> None:
        """Answer what is queued, then free everything, whoever may still be there."""
        for epoch in self._over:
            epoch.give_up()
        if self._retiring is not None:
            await asyncio.gather(self._retiring, return_exceptions=True)
        await self.current.close()

    async def _retire(
        self, old: Generation, epoch: Epoch, earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            # Who began in an earlier epoch may have been admitted late.
            await asyncio.gather(earlier, return_exceptions=True)
        await epoch.emptied()
        self._over.remove(epoch)
        try:
            await old.close(keep_store=True)
        except Exception:
            log.exception("bundle not closed", extra={"bundle": old.bundle.name})
            return
        log.info("bundle closed", extra={"bundle": old.bundle.name, "sha256": old.bundle.sha256})
