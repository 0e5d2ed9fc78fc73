import os
import signal

import pytest

from provision.simulation.world import endings_interrupt, held_back

ENDED_BY_ITSELF = 7


def test_what_is_forked_while_signals_are_held_back_does_not_end_as_we_do() -> None:
    with endings_interrupt(), held_back():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(ENDED_BY_ITSELF)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == ENDED_BY_ITSELF


def test_a_signal_that_came_meanwhile_is_heard_afterwards() -> None:
    came = []

    def rest() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            came.append("still here")

    with endings_interrupt(), pytest.raises(KeyboardInterrupt):
        rest()
    assert came == ["still here"]
