"""Where the console scripts begin: so small that Ctrl-C means the same from the first moment on.

Until a command runs there is nothing to put away, so an interruption just ends the process.
KeyboardInterrupt would come up wherever a module happens to be loading, also where Python or a
library makes another error of it.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
ENDINGS = (signal.SIGINT, signal.SIGTERM)


def rackseed(*also: signal.Signals) -> None:
    """Run `rackseed`; `also` names signals that count as Ctrl-C until the command says otherwise.

    A signal that is ignored when we start stays ignored: so shells keep Ctrl-C for the foreground
    from what runs in the background.
    """
    _run(_rackseed, (signal.SIGINT, *also))


def build_image() -> None:
    """Run `build-image`."""
    _run(_build_image, (signal.SIGINT,))


def interruptible() -> None:
    """Have Ctrl-C raise KeyboardInterrupt from now on: a command may have things to put away."""
    for number in ENDINGS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.default_int_handler)


def _rackseed() -> None:
    from provision.cli.main import main

    main()


def _build_image() -> None:
    from provision.cli.image.main import main

    main()


def _run(command: Callable[[], None], numbers: tuple[signal.Signals, ...]) -> None:
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]

    def end_at_once() -> None:
        for number in heard:
            signal.signal(number, _end)

    # Registered first, so called last: what is left then is Python's own, and the status is known.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    end_at_once()
    try:
        command()
    except KeyboardInterrupt:  # between two steps of ours
        sys.exit(INTERRUPTED)
    finally:
        end_at_once()


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
