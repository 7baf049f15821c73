"""Who may open how many connections: pools, one for each account and receiver, and the slots that they take in turn.

A slot is an open connection or one that is being opened. Receivers of an account get slots in turn, accounts in turn;
an unused connection is closed when somebody else needs its slot. Never connects: it says when a pool may.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING
from weakref import WeakSet, WeakValueDictionary

from tocsin.delivery.target import Address, Target
from tocsin.delivery.wheel import Timer
from tocsin.domain.ids import AccountId

if TYPE_CHECKING:
    from tocsin.delivery.connection import Connection, Exchange


@dataclass(slots=True, eq=False)
class Waiting:
    """An exchange's place in the queue. `opening` opens a connection on its behalf, `timer` ends both at its deadline.

    `fresh_only`: the connection that it was first sent on had been closed, so it gets a new one.
    """

    timer: Timer
    fresh_only: bool
    opening: asyncio.Task[None] | None = None


class Share:
    """What one account has open, and which of its pools wait for a slot, in turn."""

    def __init__(self) -> None:
        self.opened = 0
        self.waiting = 0
        self.pools: WeakSet[Pool] = WeakSet()
        self.turns: OrderedDict[Pool, None] = OrderedDict()

    def drop_idle(self) -> bool:
        """Close an unused connection of the account; False when it has none."""
        return any(pool.drop_idle() for pool in self.pools)


class Pool:
    """Connections of one account to one receiver (scheme, host, port), all to one of its checked `addresses`.

    TLS identity is the client's, one for all. `opened` counts slots taken, `connecting` those still being opened.
    """

    def __init__(self, target: Target, account_id: AccountId, share: Share) -> None:
        self.target = target
        self.account_id = account_id
        self.share = share
        self.idle: list[Connection] = []
        self.waiting: OrderedDict[Exchange, Waiting] = OrderedDict()
        self.opened = 0
        self.connecting = 0
        self.addresses: tuple[Address, ...] = ()
        self.fresh_until = -inf
        share.pools.add(self)

    @property
    def wants_more(self) -> bool:
        """Whether exchanges wait for which no connection is being opened."""
        return len(self.waiting) > self.connecting

    def drop_idle(self) -> bool:
        """Close the connection that has been unused longest; False when there is none."""
        if not self.idle:
            return False
        self.idle[0].close()
        return True

    def renew(self, addresses: tuple[Address, ...], until: float) -> None:
        """Take a new answer of the resolver: unused connections to other addresses are closed, used ones end so."""
        last = self.addresses[:1]
        # The same objects as before, so that a connection's address is found by identity.
        same = {address: address for address in self.addresses}
        addresses = tuple(same.get(address, address) for address in addresses)
        self.addresses = tuple(sorted(addresses, key=lambda address: address not in last))
        self.fresh_until = until
        for connection in list(self.idle):
            if connection.address not in addresses:
                connection.close()


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Connections at most: to one receiver from one account, of one account, of the process."""

    per_receiver: int = 32
    per_account: int = 128
    total: int = 2_048


class Slots:
    """Gives slots out; `open_one` starts to open a connection of a pool for which a slot was taken."""

    def __init__(self, limits: SlotLimits, open_one: Callable[[Pool], None]) -> None:
        self._limits = limits
        self._open_one = open_one
        self._opened = 0
        self._shares: WeakValueDictionary[AccountId, Share] = WeakValueDictionary()
        self.turns: OrderedDict[Share, None] = OrderedDict()
        """Accounts whose pools wait for a slot; empty except at a limit."""
        self._granting = False

    def share(self, account_id: AccountId) -> Share:
        """The account's share; it lives while a pool of the account does."""
        share = self._shares.get(account_id)
        if share is None:
            share = self._shares[account_id] = Share()
        return share

    def want(self, pool: Pool) -> None:
        """Open what `pool` wants, as far as the limits allow; it waits its turn for the rest."""
        if self._may_open(pool):
            pool.share.turns[pool] = None
            self.turns[pool.share] = None
        self._grant()

    def give_back(self, pool: Pool) -> None:
        """A connection was closed, or could not be opened."""
        pool.opened -= 1
        pool.share.opened -= 1
        self._opened -= 1
        self.want(pool)

    def wanted_elsewhere(self, pool: Pool) -> bool:
        """Whether a connection of `pool`, were it closed now, would let another pool open one that waits its turn."""
        if not self.turns:
            return False
        turns = pool.share.turns
        return len(turns) > (pool in turns) or (
            self._opened >= self._limits.total and len(self.turns) > (pool.share in self.turns)
        )

    def _may_open(self, pool: Pool) -> bool:
        return pool.wants_more and pool.opened < self._limits.per_receiver

    def _grant(self) -> None:
        if self._granting:
            return  # a connection was closed to make room: the loop below goes on with it
        self._granting = True
        try:
            in_vain = 0
            while in_vain < len(self.turns):
                share, _ = self.turns.popitem(last=False)
                in_vain = 0 if self._grant_one(share) else in_vain + 1
                if share.turns:
                    self.turns[share] = None
        finally:
            self._granting = False

    def _grant_one(self, share: Share) -> bool:
        while share.turns:
            pool, _ = share.turns.popitem(last=False)
            if not self._may_open(pool):
                continue
            if not self._room(share):
                share.turns[pool] = None
                share.turns.move_to_end(pool, last=False)
                return False
            pool.opened += 1
            share.opened += 1
            self._opened += 1
            self._open_one(pool)
            if self._may_open(pool):
                share.turns[pool] = None
            return True
        return False

    def _room(self, share: Share) -> bool:
        if share.opened >= self._limits.per_account and not share.drop_idle():
            return False
        return self._opened < self._limits.total or any(other.drop_idle() for other in self._shares.values())
