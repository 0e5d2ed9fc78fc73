"""Builds that run now, and what ends them."""

import threading
from pathlib import Path

import pytest

from rpmspecs.builds import Builds, FirstAlone
from rpmspecs.errors import Stopped

LOG = Path("unused.log")


class Sleeper:
    """A child that ends when it is stopped, or with a status at once."""

    def __init__(self, status: int | None) -> None:
        self.ended = threading.Event()
        self.began = threading.Event()
        self.status = status
        if status is not None:
            self.ended.set()

    def wait(self, timeout=None):
        self.began.set()
        if not self.ended.wait(timeout):
            raise TimeoutError
        return self.status

    def stop(self, grace=5):
        self.ended.set()
        return 143


def starting(child):
    return lambda argv, *, env=None, stdout=None, stderr=None: child


def test_a_program_that_ends_gives_its_status():
    builds = Builds(starting(Sleeper(3)))
    with builds.build("x-1") as build:
        assert build.run(["false"], log=LOG) == 3


def test_stopping_ends_the_program_and_raises_in_its_thread():
    child = Sleeper(None)
    builds = Builds(starting(child))

    def stop():
        child.began.wait(5)
        builds.stop()

    thread = threading.Thread(target=stop)
    with builds.build("x-1") as build:
        thread.start()
        with pytest.raises(Stopped, match="x-1"):
            build.run(["sleep"], log=LOG)
    thread.join()
    assert child.ended.is_set()


def test_a_stopped_build_begins_no_other_program():
    builds = Builds(starting(Sleeper(0)))
    with builds.build("x-1") as build:
        builds.stop()
        with pytest.raises(Stopped):
            build.run(["true"], log=LOG)


def test_a_build_that_begins_later_is_not_stopped():
    builds = Builds(starting(Sleeper(0)))
    builds.stop()
    with builds.build("x-1") as build:
        assert build.run(["true"], log=LOG) == 0


def test_an_interruption_ends_the_program():
    child = Sleeper(None)

    def interrupted(timeout=None):
        raise KeyboardInterrupt

    child.wait = interrupted
    with Builds(starting(child)).build("x-1") as build, pytest.raises(KeyboardInterrupt):
        build.run(["sleep"], log=LOG)
    assert child.ended.is_set()


def test_the_first_build_on_a_root_is_alone_and_the_others_are_not():
    begun = threading.Event()
    order = []
    firsts = FirstAlone()

    def second():
        begun.wait(5)
        with firsts.build("root", lambda root: False):
            order.append("second")

    thread = threading.Thread(target=second)
    with firsts.build("root", lambda root: False):
        thread.start()
        begun.set()
        thread.join(0.1)
        with firsts.build("another", lambda root: False):
            order.append("another root")
        order.append("first")
    thread.join(5)
    assert order == ["another root", "first", "second"]
    with firsts.build("root", lambda root: False), firsts.build("root", lambda root: False):
        pass


def test_after_a_first_build_that_was_stopped_the_next_is_the_first():
    firsts = FirstAlone()
    with pytest.raises(Stopped), firsts.build("root", lambda root: False):
        raise Stopped("x")
    asked = []
    with firsts.build("root", lambda root: bool(asked.append(root))):
        pass
    with firsts.build("root", lambda root: bool(asked.append(root))):
        pass
    assert asked == ["root"]


def test_a_root_that_was_kept_lets_all_begin_at_once():
    firsts = FirstAlone()
    with firsts.build("root", lambda root: True), firsts.build("root", lambda root: True):
        pass
