"""One sandbox for the tests of a module, and who uses it: Ada (extension 101, admin), Uma (102), a webhook receiver.

Every test has its own logins and receiver; mailboxes are shared, so tests look for the messages that they made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.receiver import Receiver
from tests.sandbox import Sandbox, running_sandbox
from tests.user import User, logged_in


@pytest.fixture(scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@pytest.fixture
async def ada(sandbox: Sandbox) -> AsyncIterator[User]:
    async with logged_in(sandbox) as user:
        yield user


@pytest.fixture
async def uma(sandbox: Sandbox) -> AsyncIterator[User]:
    async with logged_in(sandbox, sandbox.env["RINGCENTRAL_RECEIVER_JWT_TOKEN"]) as user:
        yield user
