"""Swap the bundle: load another one beside the one that answers, warm it, and let it take over."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import ModelError, WeightsError
from service.engine.generation import Generation
from service.engine.generations import Generations
from service.errors import (
    BundleDamaged,
    BundleUnusable,
    ConfigurationError,
    OtherAttributes,
    ServiceError,
    SeveralWorkers,
    SwapInProgress,
    UnknownBundle,
)
from service.registry.spaces import MIGRATE, difference

log = logging.getLogger(__name__)

PREVIOUS = "previous"

Swapped = Callable[[Generation], None]
Counted = Callable[[str], None]


@dataclass(frozen=True)
class Served:
    """A bundle that answers, or did: what to tell of it, and what to go back to."""

    folder: Path  # without links: these may lead elsewhere by then
    name: str
    sha256: str


class SwapBundle:
    """The use case. One swap at a time.

    Args:
        generations: whose current one is swapped.
        open_generation: loads a bundle's network; blocks.
        configured: the folder that the settings name.
        also: a further folder that bundles may lie in.
        swapped: is told of the generation that has taken over.
        counted: is told of every attempt: "done", "refused" or "failed".
        instead: how the bundle is changed where several processes answer; empty: this one is alone.
    """

    def __init__(
        self,
        generations: Generations,
        open_generation: Callable[[Bundle], Generation],
        configured: Path,
        also: Path | None,
        swapped: Swapped,
        counted: Counted,
        instead: str = "",
    ) -> None:
        self._generations = generations
        self._open = open_generation
        self._configured = configured.absolute()
        self._also = also.absolute() if also else None
        self._swapped = swapped
        self._counted = counted
        self._instead = instead
        self._lock = asyncio.Lock()
        self._asked = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.current = _served(generations.current.bundle)
        self.previous: Served | None = None

    async def to(self, wanted: str) -> None:
        """Load the bundle of this name, or `PREVIOUS`, and let it answer from then on.

        A bundle's name is its folder's, beside the bundle that answers or the one that the settings
        name; or its path, which must lead there, too.

        Raises:
            SeveralWorkers: the others would go on with the old one.
            UnknownBundle, BundleDamaged, BundleUnusable, OtherAttributes: the old one goes on.
            SwapInProgress: another one is being loaded.
            StoreUnavailable: its classes can't be read; the old one goes on.
        """
        if self._instead:
            raise SeveralWorkers(
                "several processes serve, and only the one that got this would swap. "
                + self._instead
            )
        if self._lock.locked():
            raise SwapInProgress("another bundle is being loaded; ask again when it has taken over")
        await self._lock.acquire()
        # It goes on if the caller leaves.
        self._running = asyncio.create_task(self._counted_swap(lambda: self._found(wanted)))
        await asyncio.shield(self._running)

    def reload(self) -> None:
        """Ask for what lies soon where the settings say."""
        self._asked.set()

    async def reloads(self) -> None:
        """Load it whenever that is asked, until cancelled; what goes wrong is logged."""
        while True:
            await self._asked.wait()
            await self._lock.acquire()
            # Who asks from now on may mean what wasn't there yet.
            self._asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        try:
            await self._counted_swap(lambda: (self._configured.resolve(), ""))
        except ServiceError as error:
            log.error(  # noqa: TRY400 - its message says it all
                "bundle not swapped", extra={"code": error.code, "detail": error.detail}
            )
        except Exception:
            log.exception("bundle not swapped")

    async def stop(self) -> None:
        """Give up a swap that a caller asked for, if there is one."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _counted_swap(self, find: Callable[[], tuple[Path, str]]) -> None:
        """Give the lock back at the end."""
        result = "failed"
        try:
            await self._swap(*find())
            result = "done"
        except ServiceError:
            result = "refused"
            raise
        finally:
            self._counted(result)
            self._lock.release()

    async def _swap(self, folder: Path, sha256: str) -> None:
        started = time.monotonic()
        log.info("bundle loading", extra={"folder": str(folder)})
        generation = await asyncio.to_thread(self._loaded, folder, sha256)
        try:
            await _warmed(generation)
            await self._generations.succeed(generation)
        except BaseException:
            await generation.close(keep_store=True)
            raise
        before, self.current = self.current, _served(generation.bundle)
        # The same one again is no step that one could go back.
        if before.sha256 != self.current.sha256:
            self.previous = before
        self._swapped(generation)
        told = {"bundle": self.current.name, "sha256": self.current.sha256}
        seconds = round(time.monotonic() - started, 3)
        log.info("bundle swapped", extra={**told, "was": before.name, "seconds": seconds})

    def _found(self, wanted: str) -> tuple[Path, str]:
        """The folder of a bundle, and which bundle must lie there, if that is known.

        Raises:
            UnknownBundle
        """
        if wanted == PREVIOUS:
            if self.previous is None:
                raise UnknownBundle(
                    "there is no previous bundle: this one has been there all along"
                )
            return self.previous.folder, self.previous.sha256
        roots = [self.current.folder.parent, self._configured.parent]
        roots += [self._also] if self._also else []
        for place in (*(root / wanted for root in roots), Path.cwd() / wanted):
            # What a link leads to is up to whoever could put it there; `..` is not followed.
            if place.parent in roots and place.name != ".." and _is_bundle(place):
                return place.resolve(), ""
        raise UnknownBundle(
            f"no bundle {wanted[:100]!r} lies beside the one that answers"
            f"{' or in bundles_dir' if self._also else ''}; put it there, and name its folder"
        )

    def _loaded(self, folder: Path, sha256: str) -> Generation:
        """In a thread of its own. Raises: ServiceError."""
        try:
            bundle = bundles.read(folder)
            if sha256 and bundle.sha256 != sha256:
                raise UnknownBundle(
                    "the previous bundle is gone: another one lies in its folder "
                    f"{folder.name!r} now, which its name swaps in"
                )
            self._check_attributes(bundle)
            problems = bundles.verify(bundle)
        except (WeightsError, OSError) as error:
            raise BundleDamaged(f"{folder.name}: {error}") from error
        if problems:
            raise BundleDamaged(f"{folder.name} is damaged: {'; '.join(problems)}. Copy it again")
        try:
            return self._open(bundle)
        except WeightsError as error:
            raise BundleDamaged(str(error)) from error
        except (ModelError, ConfigurationError) as error:
            raise BundleUnusable(str(error)) from error

    def _check_attributes(self, bundle: Bundle) -> None:
        before = self._generations.current.space.names
        after = bundle.manifest.attributes.names
        if before != after:
            found = difference(before, after)
            raise OtherAttributes(
                f"the bundle {bundle.name} has other attributes than the registered classes' "
                f"sheets: {found}. {MIGRATE}",
                {
                    "added": list(found.added),
                    "missing": list(found.missing),
                    "moved": list(found.moved),
                },
            )


async def _warmed(generation: Generation) -> None:
    try:
        await generation.warm_up()
    except ServiceError:
        raise
    except Exception as error:
        log.exception("bundle does not work", extra={"bundle": generation.bundle.name})
        raise BundleUnusable(
            f"the bundle {generation.bundle.name} was loaded and fails; the log says how"
        ) from error


def _is_bundle(place: Path) -> bool:
    try:
        return (place / bundles.MANIFEST).is_file()
    except (OSError, ValueError):  # too long for a name, or not one
        return False


def _served(bundle: Bundle) -> Served:
    return Served(bundle.path.resolve(), bundle.name, bundle.sha256)
