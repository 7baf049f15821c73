import asyncio
import gc
import sys
from collections import Counter

import pytest

from tests.delivery.sending import begin, delivered, failed, sent, subscription_to, webhook_transport
from tests.receiver import Behaviour, Receiver, tls_contexts
from tocsin.delivery.http_client import ClientLimits
from tocsin.delivery.pool import SlotLimits
from tocsin.domain.attempt import Delivered, Failed, FailureKind, Withheld

pytestmark = pytest.mark.anyio


async def test_a_connection_is_used_again() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        for _ in range(5):
            await delivered(transport, subscription_to(receiver.url))
        assert [(one.connection, one.nth) for one in receiver.received] == [(1, nth) for nth in range(1, 6)]


async def test_a_tls_connection_is_used_again() -> None:
    server, client = tls_contexts("127.0.0.1")
    async with Receiver(tls=server) as receiver, webhook_transport(tls=client) as transport:
        for _ in range(3):
            await delivered(transport, subscription_to(receiver.url))
        assert receiver.connections == 1


async def test_a_connection_is_not_used_again_when_the_receiver_says_close() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(close=True))
        for _ in range(2):
            await delivered(transport, subscription_to(receiver.url))
        assert [one.connection for one in receiver.received] == [1, 2]


async def test_a_second_answer_to_one_request_ends_the_connection() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with Receiver() as receiver, webhook_transport() as transport:
        for smuggled in (ok, b"HTTP/1.1 2", b"x"):
            receiver.answers(Behaviour(raw=ok + smuggled, keep_open=True), Behaviour(status=404))
            await delivered(transport, subscription_to(receiver.url))
            assert (await failed(transport, subscription_to(receiver.url))).http_status == 404
        assert [one.connection for one in receiver.received] == [1, 2, 2, 3, 3, 4]


async def test_accounts_do_not_share_connections() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        for account in (1, 2, 1, 2):
            await delivered(transport, subscription_to(receiver.url, account=account, name=f"of-{account}"))
        assert [one.connection for one in receiver.received] == [1, 2, 1, 2]


async def test_a_request_on_a_connection_that_the_receiver_had_closed_is_sent_once_more_on_a_new_one() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(), Behaviour(drop=True))
        await delivered(transport, subscription_to(receiver.url))
        await delivered(transport, subscription_to(receiver.url))
        assert [(one.connection, one.nth) for one in receiver.received] == [(1, 1), (1, 2), (2, 1)]


async def test_it_is_sent_once_more_and_not_twice() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(), Behaviour(drop=True), Behaviour(drop=True))
        await delivered(transport, subscription_to(receiver.url))
        assert (await failed(transport, subscription_to(receiver.url))).kind is FailureKind.RESET
        assert [one.connection for one in receiver.received] == [1, 1, 2]


async def test_it_is_not_sent_again_when_a_byte_of_the_answer_came_or_the_connection_was_new() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(), Behaviour(raw=b"H"), Behaviour(drop=True))
        await delivered(transport, subscription_to(receiver.url))
        for _ in range(2):
            assert (await failed(transport, subscription_to(receiver.url))).kind is FailureKind.RESET
        assert len(receiver.received) == 3


async def test_a_new_connection_does_not_wait_behind_busy_ones() -> None:
    """All slots are taken, one by a connection that turns out to be closed: what it carried gets the slot."""
    limits = ClientLimits(slots=SlotLimits(per_receiver=2))
    async with Receiver() as receiver, webhook_transport(limits=limits) as transport:
        subscription = subscription_to(receiver.url)
        hold, late = asyncio.Event(), asyncio.Event()
        receiver.answers(Behaviour(), Behaviour(until=hold), Behaviour(until=late, drop=True))
        await delivered(transport, subscription)
        held = begin(transport, subscription)
        await receiver.count(2)
        first = begin(transport, subscription, b'"opens a second connection"')
        await receiver.count(3)
        waiting = [begin(transport, subscription) for _ in range(3)]
        late.set()
        assert isinstance(await first, Failed)  # it was new: not sent again
        assert {type(one) for one in await asyncio.gather(*waiting)} == {Delivered}
        hold.set()
        assert isinstance(await held, Delivered)


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_connections_to_a_receiver_than_the_limit_and_the_rest_wait_in_order(most: int) -> None:
    limits = ClientLimits(slots=SlotLimits(per_receiver=most))
    async with Receiver() as receiver, webhook_transport(limits=limits) as transport:
        go = asyncio.Event()
        receiver.otherwise = lambda _: Behaviour(until=go)
        outcomes = [begin(transport, subscription_to(receiver.url), str(number).encode()) for number in range(20)]
        await receiver.count(most)
        assert receiver.connections == most
        go.set()
        assert {type(one) for one in await asyncio.gather(*outcomes)} == {Delivered}
        assert receiver.connections == most
        order = [int(one.body) for one in receiver.received]
        # On several connections neighbours may overtake each other on their way.
        assert all(abs(place - number) < most for place, number in enumerate(order))


async def test_a_wait_for_a_connection_ends_with_the_deadline() -> None:
    limits = ClientLimits(slots=SlotLimits(per_receiver=1))
    async with Receiver() as receiver, webhook_transport(limits=limits, within_s=0.1) as transport:
        forever = asyncio.Event()
        receiver.answers(Behaviour(until=forever))
        first, second = (begin(transport, subscription_to(receiver.url)) for _ in range(2))
        assert isinstance(await first, Failed)
        outcome = await second
        assert isinstance(outcome, Failed)
        assert outcome.kind is FailureKind.TIMEOUT
        await delivered(transport, subscription_to(receiver.url, name="other"))
        receiver.hang_up()


async def test_a_queue_that_is_full_refuses_at_once() -> None:
    limits = ClientLimits(slots=SlotLimits(per_receiver=1), waiting=1)
    async with Receiver() as receiver, webhook_transport(limits=limits) as transport:
        go = asyncio.Event()
        receiver.answers(Behaviour(until=go))
        first = begin(transport, subscription_to(receiver.url))
        await receiver.count(1)
        second = begin(transport, subscription_to(receiver.url))
        outcome = await failed(transport, subscription_to(receiver.url))
        assert (outcome.kind, outcome.detail) == (
            FailureKind.CONNECT,
            "1 requests of the account wait for a connection already",
        )
        go.set()
        assert isinstance(await first, Delivered)
        assert isinstance(await second, Delivered)


@pytest.mark.parametrize(
    "slots", [SlotLimits(per_receiver=2, per_account=2), SlotLimits(per_receiver=2, total=2)], ids=["account", "total"]
)
async def test_a_busy_receiver_does_not_keep_another_from_its_turn(slots: SlotLimits) -> None:
    async with (
        Receiver() as busy,
        Receiver() as other,
        webhook_transport(limits=ClientLimits(slots=slots)) as transport,
    ):
        outcomes = [begin(transport, subscription_to(busy.url, name="busy")) for _ in range(50)]
        await busy.count(1)
        await delivered(transport, subscription_to(other.url, name="other"))
        assert len(busy.received) < 50
        assert {type(one) for one in await asyncio.gather(*outcomes)} == {Delivered}


async def test_a_busy_account_does_not_keep_another_from_its_turn() -> None:
    limits = ClientLimits(slots=SlotLimits(per_receiver=2, per_account=2, total=2))
    async with Receiver() as receiver, webhook_transport(limits=limits) as transport:
        outcomes = [begin(transport, subscription_to(receiver.url, account=1, name="busy")) for _ in range(50)]
        await receiver.count(1)
        await delivered(transport, subscription_to(receiver.url, account=2, name="other"))
        assert len(receiver.received) < 51
        assert {type(one) for one in await asyncio.gather(*outcomes)} == {Delivered}


async def test_an_unused_connection_gives_way_at_the_limit() -> None:
    limits = ClientLimits(slots=SlotLimits(per_account=1))
    async with Receiver() as first, Receiver() as second, webhook_transport(limits=limits) as transport:
        for _ in range(2):
            await delivered(transport, subscription_to(first.url, name="first"))
            await delivered(transport, subscription_to(second.url, name="second"))
        assert (first.connections, second.connections) == (2, 2)


async def test_slow_receivers_do_not_delay_a_quick_one() -> None:
    async with Receiver() as slow, Receiver() as quick, webhook_transport() as transport:
        forever = asyncio.Event()
        slow.otherwise = lambda _: Behaviour(until=forever)
        held = [begin(transport, subscription_to(slow.url, name="slow")) for _ in range(40)]
        await slow.count(32)
        await delivered(transport, subscription_to(quick.url, name="quick"))
        assert not any(one.done() for one in held)
        await transport.close(0)
        assert set(await asyncio.gather(*held)) == {Withheld()}
        slow.hang_up()


async def test_an_unused_connection_is_closed_after_a_while() -> None:
    async with Receiver() as receiver, webhook_transport(limits=ClientLimits(idle_s=0.05), within_s=0.1) as transport:
        await delivered(transport, subscription_to(receiver.url))
        await receiver.drained()
        await delivered(transport, subscription_to(receiver.url))
        assert receiver.connections == 2


async def test_the_next_address_is_tried_when_one_does_not_answer_and_remembered() -> None:
    tried: Counter[str] = Counter()

    def lookup(host: str) -> list[str]:
        tried[host] += 1
        return ["127.0.0.9", "127.0.0.1"]

    async with Receiver() as receiver, webhook_transport(lookup=lookup) as transport:
        address = f"http://twice.example:{receiver.port}/"
        receiver.answers(Behaviour(close=True))
        for _ in range(2):
            await delivered(transport, subscription_to(address))
        assert receiver.connections == 2
        assert tried == {"twice.example": 1}


async def test_a_receiver_that_speaks_first_is_not_http() -> None:
    def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    async with server, webhook_transport() as transport:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcome = await failed(transport, subscription_to(address))
        assert outcome.kind in (FailureKind.PROTOCOL, FailureKind.CONNECT)


async def test_a_large_envelope_answered_before_it_was_read_is_answered() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(status=413, reason="Too Large"))
        outcome = await sent(transport, subscription_to(receiver.url), b"x" * 3_000_000)
        assert isinstance(outcome, Failed)
        assert outcome.http_status == 413
        await delivered(transport, subscription_to(receiver.url))


async def test_pools_of_receivers_that_are_gone_do_not_stay() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        for account in range(5):
            await delivered(transport, subscription_to(receiver.url, account=account, name=str(account)))
        transport._routes.clear()
        receiver.hang_up()
        await receiver.drained()
        await delivered(transport, subscription_to(receiver.url, account=9, name="last"))
        gc.collect()
        assert len(transport._client._pools) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the other tests run on asyncio's own loop there")
def test_it_runs_on_the_loop_of_asyncio_too() -> None:
    server, client = tls_contexts("127.0.0.1")

    async def both() -> None:
        async with Receiver(tls=server) as receiver, webhook_transport(tls=client) as transport:
            receiver.answers(Behaviour(), Behaviour(drop=True))
            for _ in range(2):
                await delivered(transport, subscription_to(receiver.url))
        async with Receiver() as receiver, webhook_transport(within_s=0.1) as transport:
            receiver.answers(Behaviour(), Behaviour(drop=True), Behaviour(), Behaviour(until=asyncio.Event()))
            for _ in range(2):
                await delivered(transport, subscription_to(receiver.url))
            assert (await failed(transport, subscription_to(receiver.url))).kind is FailureKind.TIMEOUT
            receiver.hang_up()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(both())
