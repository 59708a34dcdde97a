"""`umzero serve`, with the fake backend: what the integration tests start as a process.

Settings come from UMZERO_* alone; FAKE_DELAY_S makes every batch take that long. An image whose
middle is pure magenta makes its batch fail, with a pure yellow one it never ends. With an argument
it is one worker of several.
"""

import os
import sys
import threading
from typing import Any

from model.bundle import Bundle
from model.runtime.base import U8
from model.runtime.fake import FakeBackend
from service.app import create_app
from service.serving import run
from service.settings import Settings, read
from service.workers import child
from service.workers.member import Member
from service.workers.supervisor import supervise

MAGENTA = (255, 0, 255)
YELLOW = (255, 255, 0)


def fail_or_hang(images: U8) -> Exception | None:
    middle = images.shape[1] // 2
    colours = {tuple(colour) for colour in images[:, middle, middle].tolist()}
    if YELLOW in colours:
        threading.Event().wait()
    return RuntimeError("secret-of-the-backend") if MAGENTA in colours else None


def create(settings: Settings, member: Member | None = None) -> Any:
    delay_s = float(os.environ.get("FAKE_DELAY_S", "0"))

    def open_backend(bundle: Bundle) -> FakeBackend:
        return FakeBackend.of(bundle, delay_s=delay_s, fail=fail_or_hang)

    return create_app(settings, member=member, open_backend=open_backend)


def main() -> None:
    if len(sys.argv) > 1:
        child.main(create)
        return
    settings = read({})
    if settings.workers > 1:
        supervise(settings, [sys.executable, __file__])
    else:
        run(settings, create)


if __name__ == "__main__":
    main()
