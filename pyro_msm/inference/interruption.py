"""Ctrl-C that waits for the end of a training step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class Interruption:
    """Notes Ctrl-C in ``pending`` for where training is in a state worth saving.

    A second Ctrl-C raises at once, wherever that is. Outside the main thread, where Python delivers
    no signals, nothing is held back.

    Attributes:
        pending: Ctrl-C has been pressed.
        twice: it has been pressed again.
    """

    def __init__(self) -> None:
        self.pending = self.twice = False
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.twice = self.pending
        self.pending = True
        if self.twice:
            raise KeyboardInterrupt
