"""A receiver's address, taken apart: where to connect, what to say in Host, what to ask for.

Strict on purpose: a form that programs read differently (octal, hexadecimal and one-number IPv4, user names, control
characters, backslashes, escapes in the host) is refused, so that nobody checks one host and connects to another.
Never resolves a name and never judges an address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_ESCAPE_NEEDED = re.compile(r"[^!-~]|[\"<>^`{|}]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LIKE_A_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}
_LONGEST = 4_096


class MalformedAddress(ValueError):
    """Not an address that a webhook can go to; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """`host` is lower case, without brackets; `literal` is set when it is an IP address. `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def secure(self) -> bool:
        """Whether it is https."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The Host header: brackets for IPv6, the port when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(address: str) -> Target:
    """Take an http or https URL apart; a fragment is dropped. Raises MalformedAddress.

    Our choice: the host forms of the WHATWG URL standard that are not plain dotted IPv4 are refused, not normalised.
    """
    if len(address) > _LONGEST:
        raise MalformedAddress(f"the address is longer than {_LONGEST} characters")
    if _FORBIDDEN.search(address):
        raise MalformedAddress("the address holds a space, a backslash, a control character or half of a character")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as wrong:
        raise MalformedAddress(f"the address is not a URL: {wrong}") from wrong
    if parts.scheme not in _PORTS:
        raise MalformedAddress("the address does not begin with https:// or http://")
    if "@" in parts.netloc:
        raise MalformedAddress("the address holds a user name or password")
    if port == 0:
        raise MalformedAddress("port 0 can't be connected to")
    host, literal = _parse_host(parts.hostname or "", bracketed="[" in parts.netloc)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = _ESCAPE_NEEDED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), path)
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path, literal)


def _parse_host(text: str, *, bracketed: bool) -> tuple[str, Address | None]:
    if bracketed:
        if "%" in text:
            raise MalformedAddress("an IPv6 zone belongs to one machine only")
        try:
            literal: Address = ipaddress.IPv6Address(text)
        except ValueError as wrong:
            raise MalformedAddress("the host is not an IPv6 address") from wrong
        return str(literal), literal
    host = _ascii(text)
    labels = host.removesuffix(".").split(".")
    if _LIKE_A_NUMBER.fullmatch(labels[-1]):
        try:
            literal = ipaddress.IPv4Address(host)
        except ValueError as wrong:
            raise MalformedAddress("the host looks like an IPv4 address and is not a plain one") from wrong
        return str(literal), literal
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise MalformedAddress("the host is not a name")
    return host, None


def _ascii(text: str) -> str:
    """The name as it is looked up: full-width digits and the like become what they look like."""
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError as wrong:
        raise MalformedAddress("the host is not a name") from wrong
