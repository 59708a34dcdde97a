"""A server and everything that it starts: CPU time, memory, what is left."""

import contextlib
import os
import time

import psutil

MIB = 2**20


class Tree:
    """The processes below one, those in its session, and those that left it after being seen."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: set[psutil.Process] = {psutil.Process(root)}

    def alive(self) -> list[psutil.Process]:
        running = {}
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    running[process] = process.ppid(), os.getsid(process.pid)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        found: set[psutil.Process] = set()
        before = -1
        while len(found) > before:
            before = len(found)
            parents = {process.pid for process in found}
            found |= {
                process
                for process, (parent, session) in running.items()
                if process in self._known or session == self._root or parent in parents
            }
        self._known |= found
        return list(found)

    def cpu_s(self) -> float:
        """User and system time of all, and of those that ended and were waited for."""
        total = 0.0
        for process in self.alive():
            try:
                total += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
        return total

    def pss_mib(self) -> float:
        """Proportional set size: a page that several share counts once."""
        return self._sum("pss")

    def rss_mib(self) -> float:
        return self._sum("rss")

    def end(self, patience_s: float = 5.0) -> None:
        """SIGTERM to the first process, as an orchestrator does; SIGKILL to what is left."""
        self.alive()
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self._root).terminate()
        deadline = time.monotonic() + patience_s
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        while left:
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=1)
            left = self.alive()

    def _sum(self, field: str) -> float:
        total = 0
        for process in self.alive():
            try:
                whole = process.memory_full_info() if field == "pss" else process.memory_info()
                total += getattr(whole, field)
            except psutil.NoSuchProcess:
                continue
        return total / MIB
