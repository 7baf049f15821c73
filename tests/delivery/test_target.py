from ipaddress import ip_address

import pytest

from tocsin.delivery.target import MalformedAddress, parse_target


@pytest.mark.parametrize(
    "address, scheme, authority, port, path",
    [
        ("https://receiver.example", "https", "receiver.example", 443, "/"),
        ("HTTPS://Receiver.Example:443/Hook?a=b#part", "https", "receiver.example", 443, "/Hook?a=b"),
        ("http://receiver.example:8080/a%20b", "http", "receiver.example:8080", 8080, "/a%20b"),
        ("https://bücher.example/ü", "https", "xn--bcher-kva.example", 443, "/%C3%BC"),
        ("http://127.0.0.1:81?x=1", "http", "127.0.0.1:81", 81, "/?x=1"),
        ("http://[::1]/", "http", "[::1]", 80, "/"),
        ("http://[::1]:81/", "http", "[::1]:81", 81, "/"),
        ("http://１２７.0.0.1/", "http", "127.0.0.1", 80, "/"),
        ("http://my_host/", "http", "my_host", 80, "/"),
    ],
)
def test_plain_addresses(address: str, scheme: str, authority: str, port: int, path: str) -> None:
    target = parse_target(address)
    assert (target.scheme, target.authority, target.port, target.path) == (scheme, authority, port, path)
    assert target.secure is (scheme == "https")


def test_what_looks_like_an_ip_address_is_one() -> None:
    assert str(parse_target("http://①②⑦.⓪.⓪.①/").literal) == "127.0.0.1"
    assert parse_target("http://[::ffff:127.0.0.1]/").literal == ip_address("::ffff:127.0.0.1")
    assert parse_target("http://localhost/").literal is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "receiver.example",
        "//receiver.example/",
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "http:///path",
        "http://",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2f@receiver.example/",
        "http://user:password@receiver.example/",
        "http://receiver.example@127.0.0.1/",
        "http://receiver.example\\@127.0.0.1/",
        "http://receiver.example:0/",
        "http://receiver.example:99999/",
        "http://receiver.example:80a/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://[v1.x]/",
        "http://-dash.example/",
        "http://a..example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 127 + "example/",
        "http://receiver.example/ HTTP/1.1\r\nEvil: 1",
        "http://receiver.example/\nEvil: 1",
        "http://receiver.example/\x00",
        "http://receiver.example/\ud800",
        " http://receiver.example/",
        "http://receiver.example/" + "x" * 4_096,
    ],
)
def test_hostile_addresses(address: str) -> None:
    with pytest.raises(MalformedAddress):
        parse_target(address)
