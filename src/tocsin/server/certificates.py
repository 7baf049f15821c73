"""A local CA and a certificate for the sandbox's https, kept with its data so that clients trust it across restarts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tocsin.server.http_server import Certificate

CA_FILE = "ca.pem"
CHAIN_FILE = "server.pem"
KEY_FILE = "server.key"


@dataclass(frozen=True, slots=True)
class LocalTrust:
    """The server's certificate, and the CA file that clients must be told of."""

    certificate: Certificate
    ca: Path


def local_trust(folder: Path, host: str) -> LocalTrust:
    """Return the CA and certificate kept in `folder`, made when missing; they cover `host` and the loopback names."""
    trust = LocalTrust(Certificate(folder / CHAIN_FILE, folder / KEY_FILE), folder / CA_FILE)
    if not (trust.ca.exists() and trust.certificate.chain.exists() and trust.certificate.key.exists()):
        import trustme

        authority = trustme.CA()
        names = dict.fromkeys([host, "localhost", "127.0.0.1", "::1"])
        issued = authority.issue_cert(*(name for name in names if name not in ("0.0.0.0", "::")))  # noqa: S104
        _write(trust.certificate.key, issued.private_key_pem.bytes())
        _write(trust.certificate.chain, b"".join(part.bytes() for part in issued.cert_chain_pems))
        _write(trust.ca, authority.cert_pem.bytes())
    return trust


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
