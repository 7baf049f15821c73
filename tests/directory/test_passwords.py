from __future__ import annotations

import pytest

from tests.company import QUICK
from tocsin.directory.passwords import Passwords


@pytest.mark.anyio
async def test_only_the_right_password_matches() -> None:
    passwords = Passwords(QUICK)
    hashed = await passwords.hash("correct horse")
    assert "correct horse" not in hashed
    assert await passwords.matches("correct horse", hashed)
    assert not await passwords.matches("wrong", hashed)
    assert not await passwords.matches("nobody's", None)
    assert not await passwords.matches("correct horse", "no hash at all")
