"""The sandbox's own CA: kept, complete, and good for the host that is listened on."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from tocsin.server.certificates import CA_FILE, KEY_FILE, LocalTrust, local_trust


def greet(trust: LocalTrust, name: str) -> None:
    """Shake hands over TLS as a client that was told of the CA. Raises ssl.SSLError where it does not trust."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(trust.certificate.chain, trust.certificate.key)

    def serve() -> None:
        try:
            server.wrap_socket(ours, server_side=True).close()
        except ssl.SSLError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ssl.create_default_context(cafile=trust.ca).wrap_socket(theirs, server_hostname=name).close()
    finally:
        theirs.close()
        thread.join()


@pytest.mark.parametrize("name", ["192.0.2.7", "localhost", "127.0.0.1", "::1"])
def test_clients_that_know_the_ca_trust_every_name(tmp_path: Path, name: str) -> None:
    greet(local_trust(tmp_path, "192.0.2.7"), name)


def test_other_names_are_not_covered(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(local_trust(tmp_path, "0.0.0.0"), "example.com")


def test_kept_across_restarts_and_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    first = local_trust(tmp_path, "127.0.0.1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert local_trust(tmp_path, "localhost") == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [CA_FILE, KEY_FILE])
def test_made_anew_where_a_file_is_missing_or_broken(tmp_path: Path, name: str) -> None:
    for damage in (Path.unlink, lambda path: path.write_bytes(b"")):
        local_trust(tmp_path, "localhost")
        damage(tmp_path / name)
        greet(local_trust(tmp_path, "localhost"), "localhost")


def test_made_anew_for_a_host_that_it_does_not_cover(tmp_path: Path) -> None:
    local_trust(tmp_path, "localhost")
    greet(local_trust(tmp_path, "tocsin.example"), "tocsin.example")
