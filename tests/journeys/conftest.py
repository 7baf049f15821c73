"""One sandbox for all journeys that need nothing special, and who uses it: Ada, Uma, Bob, and a webhook receiver.

Ada (extension 101, admin, two numbers) and Uma (102) are of one company, Bob (101, admin) of another. Every test has
its own logins and receiver; mailboxes are shared, so tests look for the messages that they made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.receiver import Receiver
from tests.sandbox import Sandbox, running_sandbox
from tests.user import User, logged_in

SEED = Path(__file__).parent / "two_companies.toml"
BOBS_LOGIN = {"username": "+16505550201", "password": "bob's long password"}


@pytest.fixture(scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--seed", str(SEED)) as running:
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
    async with logged_in(sandbox, jwt=sandbox.env["RINGCENTRAL_RECEIVER_JWT_TOKEN"]) as user:
        yield user


@pytest.fixture
async def bob(sandbox: Sandbox) -> AsyncIterator[User]:
    async with logged_in(sandbox, **BOBS_LOGIN) as user:
        yield user
