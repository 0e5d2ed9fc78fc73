"""Each step of a controller failed once in its middle, and the next run went on there.

Some steps had a program that failed, others were killed; one ended with the whole machine.
"""

import pytest

from tests.cloud import state
from tests.cloud.disturb import CRASH, Stop
from tests.cloud.faults import FAULTS

STEPS = [fault.step for fault in FAULTS]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_failed_is_where_the_next_run_goes_on(stops: dict[str, Stop], step: str):
    stop, number = stops[step], STEPS.index(step)
    assert stop.done == tuple(STEPS[:number]), "what was done stays, and nothing else counts"
    assert f"step {step} failed 1 times" in stop.last_words
    if number == 0 or step == CRASH:
        assert stop.begun == (step,), "by itself, when the host starts"
    else:
        assert stop.begun == (STEPS[number - 1], step)


def test_after_the_last_failure_the_steps_come_to_their_end(rack, cloud):
    assert state.done(cloud) == STEPS
    assert state.log(cloud).splitlines()[-1].endswith("all steps are done")
    assert rack.state("ctl01") == "active", "and the boot server knows"


def test_nothing_half_made_is_left(cloud):
    names = ("*.rackseed-new", "*.begun", "*.restart", "*.crt.new", "*.key.new")
    search = " -o ".join(f"-name '{name}'" for name in names)
    assert cloud.run("bash", "-c", f"find /etc /root /var/lib/rackseed {search}") == ""
