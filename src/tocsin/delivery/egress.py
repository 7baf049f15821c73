"""Where notifications may go: resolves a receiver's name, checks every address, and hands out only checked ones.

Whoever connects uses the address returned here and never the name again, so a second, different answer of a hostile
name server changes nothing. An allow-list of networks opens what is closed (the sandbox: loopback). Never connects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tocsin.delivery.target import Address, Target
from tocsin.domain.ids import AccountId

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str], Sequence[str]]

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
"""What `tocsin dev` allows."""

_CLOSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    # Closed whatever Python's tables, which differ by version, say of them.
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata here
        "168.63.129.16/32",  # a cloud's own control address, public by number only
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b:1::/48",  # NAT64 of somebody's own network
        "100::/64",
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


class Refused(Exception):
    """The guard lets nothing go there; the message is a sentence for a person."""


class Unresolved(Exception):
    """The name has no address, or its name server did not say; the message is a sentence for a person."""


def check(address: Address, allowed: Sequence[Network]) -> Address:
    """Return the address to connect to: an IPv4-mapped one as IPv4. Raises Refused.

    What carries an IPv4 address inside (6to4, NAT64, ISATAP) is as closed as that address.
    """
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    if any(plain in network for network in allowed):
        return plain
    if not all(_is_open(part) for part in _parts(plain)):
        raise Refused(f"{plain} is not on the public internet, and no allowed network holds it")
    return plain


def _is_open(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _CLOSED)
    )


def _parts(address: Address) -> list[Address]:
    """The address itself and what it carries inside; of NAT64, which is a way to IPv4 and no place, the latter only."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64:
        return [low]
    parts: list[Address] = [address]
    if address.sixtofour is not None:
        parts.append(address.sixtofour)
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        parts.append(low)
    return parts


def look_up(host: str) -> list[str]:
    """Ask the system's resolver; blocks. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """How long an answer is used, how long a failure is remembered, how many lookups run at once."""

    fresh_s: float = 30.0
    failure_s: float = 2.0
    names: int = 10_000
    per_account: int = 4
    total: int = 64


class Egress:
    """The guard and its resolver, for one event loop. `https_only` refuses plain http (`tocsin serve`)."""

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        https_only: bool = True,
        limits: EgressLimits | None = None,
        lookup: Lookup = look_up,
    ) -> None:
        self.https_only = https_only
        self._allowed = tuple(allowed)
        self._limits = limits or EgressLimits()
        self._resolver = _Resolver(lookup, self._limits)

    @property
    def fresh_s(self) -> float:
        """Seconds after which a name is asked for again."""
        return self._limits.fresh_s

    async def addresses(self, target: Target, account_id: AccountId) -> tuple[Address, ...]:
        """Return the addresses to try, in order; all have passed. Raises Refused or Unresolved.

        One closed address among several closes the name: the sender must not choose which of them is meant.
        """
        if target.literal is not None:
            return (check(target.literal, self._allowed),)
        found = await self._resolver.resolve(target.host, account_id)
        return tuple(dict.fromkeys(check(address, self._allowed) for address in found))


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: tuple[Address, ...]
    error: str
    until: float


class _Resolver:
    """Lookups in threads of their own: one at a time for a name, a few for an account, so that one hostile name server
    holds up its own names only. The threads are daemons, since a lookup can't be cancelled and must not delay the end.
    """

    def __init__(self, lookup: Lookup, limits: EgressLimits) -> None:
        self._lookup = lookup
        self._limits = limits
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._running: dict[str, asyncio.Future[_Known]] = {}
        self._waiting: deque[tuple[str, AccountId]] = deque()
        self._of_account: dict[AccountId, int] = {}
        self._threads = 0

    async def resolve(self, host: str, account_id: AccountId) -> tuple[Address, ...]:
        loop = asyncio.get_running_loop()
        known = self._known.get(host)
        if known is None or known.until <= loop.time():
            known = await asyncio.shield(self._ask(host, account_id, loop))
        if known.error:
            raise Unresolved(known.error)
        return known.addresses

    def _ask(self, host: str, account_id: AccountId, loop: asyncio.AbstractEventLoop) -> asyncio.Future[_Known]:
        future = self._running.get(host)
        if future is None:
            future = self._running[host] = loop.create_future()
            # One waiting lookup per name at most, and each belongs to a connection that is being opened: bounded.
            self._waiting.append((host, account_id))
            self._start_waiting(loop)
        return future

    def _start_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(len(self._waiting)):
            if self._threads >= self._limits.total:
                return
            host, account_id = self._waiting.popleft()
            running = self._of_account.get(account_id, 0)
            if running >= self._limits.per_account:
                self._waiting.append((host, account_id))
                continue
            self._of_account[account_id] = running + 1
            self._threads += 1
            thread = threading.Thread(
                target=self._run, args=(host, account_id, loop), name="tocsin-resolve", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as wrong:  # the system has no thread left; the next lookup may find one
                loop.call_soon(self._finish, host, account_id, (), f"{host} can't be resolved: {wrong}", loop)

    def _run(self, host: str, account_id: AccountId, loop: asyncio.AbstractEventLoop) -> None:
        found: tuple[Address, ...] = ()
        error = ""
        try:
            found = tuple(ipaddress.ip_address(text.partition("%")[0]) for text in self._lookup(host))
        except (OSError, UnicodeError, ValueError) as wrong:
            error = f"{host} can't be resolved: {getattr(wrong, 'strerror', None) or wrong}"
        if not found and not error:
            error = f"{host} has no address"
        with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
            loop.call_soon_threadsafe(self._finish, host, account_id, found, error, loop)

    def _finish(
        self,
        host: str,
        account_id: AccountId,
        found: tuple[Address, ...],
        error: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._threads -= 1
        left = self._of_account[account_id] - 1
        if left:
            self._of_account[account_id] = left
        else:
            del self._of_account[account_id]
        until = loop.time() + (self._limits.failure_s if error else self._limits.fresh_s)
        known = self._known[host] = _Known(found, error, until)
        self._known.move_to_end(host)
        while len(self._known) > self._limits.names:
            self._known.popitem(last=False)
        self._running.pop(host).set_result(known)
        self._start_waiting(loop)
