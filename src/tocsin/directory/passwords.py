"""Passwords: Argon2id, in threads of its own number, so that logins neither stop the loop nor fill the memory.

Never sees whose password it is.
"""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

MAX_AT_ONCE = 2
"""Each takes 64 MiB while it runs; others wait their turn."""


class Passwords:
    """Hashes and checks, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        # Checked where there is no hash, so that an unknown user takes as long as a wrong password.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to keep of `password`."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `password` is the one of hash `stored`; None never is, and takes as long."""
        if stored is None and self._nobody is None:
            self._nobody = await self.hash("nobody's")
        async with self._turns:
            return await asyncio.to_thread(self._verify, password, stored or self._nobody or "") and stored is not None

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
