"""What a long piece of work shows of itself: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from tqdm import tqdm


class Progress:
    """Shows nothing; what work reports to when nobody watches."""

    def start(self, total: int) -> None:
        """``total`` steps are ahead."""

    def step(self, text: str) -> None:
        """The next step, described by ``text``, begins."""


class Bar(Progress):
    """A progress bar on standard error, if that is a terminal. A context manager: the bar is cleared at the end.

    Ctrl-C interrupts at once. Where the exception is swallowed on its way (Python ignores what is raised in a callback
    of its garbage collector), the next step raises it again.
    """

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._interrupted = False
        self._restore: Callable[[], object] = lambda: None

    def start(self, total: int) -> None:
        self._bar = tqdm(total=total, disable=not self._shown, leave=False, file=sys.stderr, unit="step")

    def step(self, text: str) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        if self._bar is not None:
            self._bar.set_postfix_str(text[:48], refresh=False)
            self._bar.update()

    def __enter__(self) -> Bar:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, self._note)
            self._restore = lambda: signal.signal(signal.SIGINT, before)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if self._bar is not None:
            self._bar.close()
