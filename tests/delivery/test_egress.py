import asyncio
import ipaddress
import threading
from collections.abc import Sequence

import pytest

from tests.delivery.sending import delivered, failed, subscription_to, webhook_transport
from tests.receiver import Receiver
from tocsin.delivery.egress import LOOPBACK, Egress, EgressLimits, Refused, Unresolved, check
from tocsin.delivery.target import parse_target
from tocsin.domain.attempt import FailureKind
from tocsin.domain.handshake import RefusedAddress
from tocsin.domain.ids import AccountId

ACCOUNT = AccountId(1)

CLOSED = """
    0.0.0.0 10.0.0.1 100.64.1.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1
    255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe
    64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:a00:1::1
    2606:4700::5efe:7f00:1 2606:4700::200:5efe:10.0.0.1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1
""".split()

OPEN = "1.1.1.1 8.8.8.8 2606:4700::1111 2002:808:808:: 64:ff9b::808:808 2606:4700::5efe:8.8.8.8".split()


@pytest.mark.parametrize("text", CLOSED)
def test_closed_addresses(text: str) -> None:
    with pytest.raises(Refused):
        check(ipaddress.ip_address(text), ())


@pytest.mark.parametrize("text", OPEN)
def test_open_addresses(text: str) -> None:
    assert str(check(ipaddress.ip_address(text), ())) == str(ipaddress.ip_address(text))


def test_an_allowed_network_opens_itself_and_nothing_else() -> None:
    assert str(check(ipaddress.ip_address("127.0.0.5"), LOOPBACK)) == "127.0.0.5"
    assert str(check(ipaddress.ip_address("::1"), LOOPBACK)) == "::1"
    assert str(check(ipaddress.ip_address("::ffff:127.0.0.1"), LOOPBACK)) == "127.0.0.1"
    for text in ("10.0.0.1", "2002:7f00:1::", "64:ff9b::127.0.0.1"):
        with pytest.raises(Refused):
            check(ipaddress.ip_address(text), LOOPBACK)


@pytest.mark.anyio
async def test_one_closed_address_among_open_ones_closes_the_name() -> None:
    egress = Egress(lookup=lambda _: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        await egress.addresses(parse_target("https://mixed.example/"), ACCOUNT)


@pytest.mark.anyio
async def test_a_name_is_asked_for_once_while_its_answer_is_fresh_and_by_many_at_once() -> None:
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        return ["8.8.8.8", "2606:4700::1111", "8.8.8.8"]

    egress = Egress(lookup=lookup)
    target = parse_target("https://receiver.example/")
    found = await asyncio.gather(*(egress.addresses(target, AccountId(number)) for number in range(5)))
    assert {tuple(map(str, addresses)) for addresses in found} == {("8.8.8.8", "2606:4700::1111")}
    await egress.addresses(target, ACCOUNT)
    assert asked == ["receiver.example"]


@pytest.mark.anyio
async def test_a_failure_is_remembered_for_a_moment_and_an_old_answer_is_not_used() -> None:
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        if host == "gone.example":
            raise OSError(-2, "Name or service not known")
        return []

    egress = Egress(lookup=lookup)
    for _ in range(2):
        with pytest.raises(Unresolved, match=r"gone.example can't be resolved: Name or service not known"):
            await egress.addresses(parse_target("https://gone.example/"), ACCOUNT)
        with pytest.raises(Unresolved, match=r"empty.example has no address"):
            await egress.addresses(parse_target("https://empty.example/"), ACCOUNT)
    assert asked == ["gone.example", "empty.example"]
    stale = Egress(lookup=lookup, limits=EgressLimits(failure_s=0.0))
    for _ in range(2):
        with pytest.raises(Unresolved):
            await stale.addresses(parse_target("https://gone.example/"), ACCOUNT)
    assert asked.count("gone.example") == 3


@pytest.mark.anyio
async def test_a_name_server_that_hangs_holds_up_its_own_account_only() -> None:
    hang = threading.Event()

    def lookup(host: str) -> Sequence[str]:
        if host.startswith("slow"):
            hang.wait(10)
        return ["8.8.8.8"]

    egress = Egress(lookup=lookup, limits=EgressLimits(per_account=2, total=4))
    slow = [
        asyncio.ensure_future(egress.addresses(parse_target(f"https://slow{number}.example/"), AccountId(1)))
        for number in range(6)
    ]
    await egress.addresses(parse_target("https://quick.example/"), AccountId(2))
    queued = asyncio.ensure_future(egress.addresses(parse_target("https://own.example/"), AccountId(1)))
    await egress.addresses(parse_target("https://quicker.example/"), AccountId(2))
    assert not queued.done()
    hang.set()
    await asyncio.gather(queued, *slow)


@pytest.mark.anyio
async def test_whoever_stops_waiting_does_not_stop_the_lookup_for_others() -> None:
    hang = threading.Event()

    def lookup(_: str) -> Sequence[str]:
        hang.wait(10)
        return ["8.8.8.8"]

    egress = Egress(lookup=lookup)
    target = parse_target("https://slow.example/")
    first, second = (asyncio.ensure_future(egress.addresses(target, ACCOUNT)) for _ in range(2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await first
    hang.set()
    assert [str(address) for address in await second] == ["8.8.8.8"]


@pytest.mark.anyio
async def test_a_rebinding_name_is_connected_to_at_the_address_that_was_checked() -> None:
    """The name answers with the receiver once and with a closed address ever after; Host remains the name."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    def lookup(_: str) -> Sequence[str]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async with Receiver() as receiver, webhook_transport(lookup=lookup) as transport:
        address = f"http://rebinding.example:{receiver.port}/hook"
        await delivered(transport, subscription_to(address))
        await delivered(transport, subscription_to(address))
        request = await receiver.next()
        assert request.headers["host"] == f"rebinding.example:{receiver.port}"
        assert len(receiver.received) == 2


@pytest.mark.anyio
async def test_a_closed_name_gets_no_connection_for_deliveries_and_handshakes_alike() -> None:
    async with Receiver() as receiver, webhook_transport(allowed=(), lookup=lambda _: ["127.0.0.1"]) as transport:
        for host in ("inside.example", "localhost", "127.0.0.1", "[::ffff:127.0.0.1]"):
            address = f"http://{host}:{receiver.port}/hook"
            assert (await failed(transport, subscription_to(address))).kind is FailureKind.REFUSED_ADDRESS
            assert isinstance(await transport.handshake(address, None, ACCOUNT), RefusedAddress)
        assert receiver.connections == 0


@pytest.mark.anyio
async def test_a_name_without_address_is_a_failure_of_its_own_kind() -> None:
    async with webhook_transport(lookup=lambda _: []) as transport:
        outcome = await failed(transport, subscription_to("http://empty.example/"))
        assert (outcome.kind, outcome.detail) == (FailureKind.DNS, "empty.example has no address")


@pytest.mark.anyio
async def test_regression_a_lookup_without_a_thread_fails_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    egress = Egress(lookup=lambda _: ["8.8.8.8"], limits=EgressLimits(failure_s=0.0))
    target = parse_target("https://receiver.example/")

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short_of_threads:
        short_of_threads.setattr(threading.Thread, "start", start)
        with pytest.raises(Unresolved, match="can't start new thread"):
            await egress.addresses(target, AccountId(1))
    async with asyncio.timeout(10):
        assert await egress.addresses(target, AccountId(1)) == (ipaddress.ip_address("8.8.8.8"),)
