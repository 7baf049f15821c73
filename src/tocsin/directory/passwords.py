"""Passwords: Argon2id, in threads of its own number, so that logins neither stop the loop nor fill the memory.

Never sees whose password it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MAX_AT_ONCE = 2
"""Each takes 64 MiB while it runs; others wait their turn."""


class Passwords:
    """Hashes and checks, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        # Checked where there is no hash, so that an unknown user takes as long as a wrong password.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to keep of `password`."""
        async with self._turns:
            return await asyncio.to_thread(self._hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `password` is the one of hash `stored`; None never is, and takes as long."""
        if stored is None and self._nobody is None:
            self._nobody = await self.hash("nobody's")
        async with self._turns:
            return await asyncio.to_thread(self._verify, password, stored or self._nobody or "") and stored is not None

    def _hash(self, password: str) -> str:
        return self._hashing().hash(password)

    def _verify(self, password: str, stored: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerifyMismatchError

        try:
            return self._hashing().verify(stored, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _hashing(self) -> PasswordHasher:
        if self._hasher is None:
            # Imported here, in a thread: most starts see no password.
            from argon2 import PasswordHasher

            self._hasher = PasswordHasher()
        return self._hasher
