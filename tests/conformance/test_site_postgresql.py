"""The program behind the servers on a real PostgreSQL: the whole suite again."""

import pytest

from tests.postgresql import postgresql
from tests.unit.provision.test_site import *  # noqa: F403


@pytest.fixture(scope="module")
def server():
    with postgresql() as server:
        yield server


@pytest.fixture
def store_url(server):
    return server.make_database()
