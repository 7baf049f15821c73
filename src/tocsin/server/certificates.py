"""A local CA and a certificate for the sandbox's https, kept with its data so that clients trust it across restarts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from tocsin.server.http_server import Certificate
from tocsin.server.private_file import write_private

CA_FILE = "ca.pem"
CHAIN_FILE = "server.pem"
KEY_FILE = "server.key"
HOSTS_FILE = "server.hosts"

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # addresses to listen on, which nobody dials


@dataclass(frozen=True, slots=True)
class LocalTrust:
    """The server's certificate, and the CA file that clients must be told of."""

    certificate: Certificate
    ca: Path


def local_trust(folder: Path, host: str) -> LocalTrust:
    """Return the CA and certificate kept in `folder`; they cover `host` and the loopback names.

    Made anew, the CA with them, where they are missing, unreadable or made for other hosts: the CA's key is not kept.
    """
    trust = LocalTrust(Certificate(folder / CHAIN_FILE, folder / KEY_FILE), folder / CA_FILE)
    names = [name for name in dict.fromkeys([host, "localhost", "127.0.0.1", "::1"]) if name not in _EVERYWHERE]
    hosts = folder / HOSTS_FILE
    if not (hosts.exists() and set(names) <= set(hosts.read_text("utf-8").split()) and _loads(trust)):
        import trustme

        hosts.unlink(missing_ok=True)  # written last: it says that the others are whole and belong together
        authority = trustme.CA()
        issued = authority.issue_cert(*names)
        write_private(trust.certificate.key, issued.private_key_pem.bytes())
        write_private(trust.certificate.chain, b"".join(part.bytes() for part in issued.cert_chain_pems))
        write_private(trust.ca, authority.cert_pem.bytes())
        write_private(hosts, "\n".join(names).encode())
    return trust


def _loads(trust: LocalTrust) -> bool:
    """Whether key and chain belong together and the CA can be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(trust.certificate.chain, trust.certificate.key)
        context.load_verify_locations(trust.ca)
    except OSError:  # ssl.SSLError is one
        return False
    return True
