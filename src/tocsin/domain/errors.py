"""Errors that a use case may raise, each a class whose docstring is its default meaning.

They know no HTTP: wire/errors.py has the only table from these to status and RingCentral code. `parameter` names the
offending parameter as the client sent it.
"""

from __future__ import annotations


class TocsinError(Exception):
    """Something that the caller is told about, in words that a person can act on."""

    def __init__(self, message: str = "", *, parameter: str | None = None, value: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        self.parameter = parameter
        self.value = value


class Refused(TocsinError):
    """A refusal with RingCentral's own code, where the domain has no better word for it.

    `code` is the modern code (CMN-101, MSG-245, SUB-508 …); wire/errors.py knows each one's HTTP status.
    """

    def __init__(self, code: str, message: str, *, parameter: str | None = None, value: str | None = None) -> None:
        super().__init__(message, parameter=parameter, value=value)
        self.code = code


class InvalidParameter(TocsinError):
    """A parameter's value is invalid (CMN-101)."""


class NotFound(TocsinError):
    """Nothing has this id (CMN-102)."""


class MissingScope(TocsinError):
    """The app lacks a permission (CMN-401); `parameter` is the permission."""


class MissingPermission(TocsinError):
    """The user lacks a permission (CMN-408); `parameter` is the permission."""


class OtherExtension(TocsinError):
    """The caller may not act for another extension (CMN-419); `parameter` is the permission that it would need."""


class Unauthenticated(TocsinError):
    """No, or no valid, access token; `code` is the RingCentral code (AGW-401, AGW-402, OAU-128, OAU-213)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GrantRefused(TocsinError):
    """A token was not given, renewed or revoked; `code` is the OAuth endpoint's own (OAU-120, OAU-140, OAU-213 …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Overloaded(TocsinError):
    """The store has more waiting writes than it takes; try again in a moment (503, CMN-201)."""


class StoreUnavailable(TocsinError):
    """The store can't take writes now (disk full, database away); nothing was acknowledged (503, CMN-201)."""


class OutcomeUnknown(TocsinError):
    """The connection broke during the commit: it may or may not have been stored (503, CMN-201)."""


class Stale(TocsinError):
    """A row changed between reading and writing; the use case validates again and repeats."""
