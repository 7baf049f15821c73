"""Every setting of Tocsin in one place: default, unit, meaning and environment name side by side.

Precedence: flag > TOCSIN_… variable > file > default. Unknown keys in a file are errors. No other room reads settings.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

PREFIX = "TOCSIN_"


class SettingError(ValueError):
    """A setting has a value that can't be used; the message names it, its origin and what to do."""


def _means(meaning: str, *, secret: bool = False) -> dict[str, object]:
    return {"meaning": meaning, "secret": secret}


@dataclass(frozen=True, slots=True)
class Settings:
    """Effective settings; each field's metadata says what it means. In the environment: TOCSIN_ and the name."""

    host: str = field(default="127.0.0.1", metadata=_means("address to listen on"))
    port: int = field(default=8765, metadata=_means("port to listen on; 0 picks a free one"))
    data: Path | None = field(
        default=None, metadata=_means("folder of the store; none: a temporary one, removed at exit (dev)")
    )
    env_file: Path | None = field(
        default=None, metadata=_means("file that gets the credentials as KEY=value lines once the server is ready")
    )
    tls: bool = field(default=False, metadata=_means("serve https with a certificate of a local CA made for the run"))
    seed: Path | None = field(
        default=None, metadata=_means("TOML file with apps, accounts and extensions for an empty store")
    )
    public_url: str | None = field(
        default=None, metadata=_means("base of every absolute uri, for a server behind a proxy")
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(), metadata=_means("networks (CIDR) whose X-Forwarded-* headers are believed")
    )
    admin_token: str | None = field(
        default=None, metadata=_means("bearer token of the control API; made and kept in dev", secret=True)
    )
    delivery_timeout_s: float = field(
        default=10.0, metadata=_means("seconds a receiver has for one notification, in all")
    )
    allow_networks: tuple[str, ...] = field(
        default=(), metadata=_means("networks (CIDR) that webhooks may reach although they are private")
    )
    access_token_s: int = field(default=3600, metadata=_means("lifetime of an access token, seconds (600-3600)"))
    log_level: str = field(default="info", metadata=_means("debug, info, warning or error"))

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks of trusted proxies."""
        return tuple(ip_network(text) for text in self.trusted_proxies)


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings with where each value came from: "flag", "environment", the file's name, or "default"."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str] | None = None, file: Path | None = None
) -> Effective:
    """Combine flags (None: not given), environment and file. Raises SettingError."""
    environ = os.environ if environ is None else environ
    known = {one.name for one in fields(Settings)}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(known, "default")
    for name, value in _from_file(file).items():
        if name not in known:
            raise SettingError(f"{file}: unknown key {name!r}; known are {', '.join(sorted(known))}")
        values[name], origins[name] = _convert(name, value, str(file)), str(file)
    for name in known:
        variable = PREFIX + name.upper()
        if variable in environ:
            values[name], origins[name] = _convert(name, environ[variable], variable), "environment"
    for name, value in flags.items():
        if value is not None and value != ():
            values[name], origins[name] = value, "flag"
    settings = replace(Settings(), **values)
    _check(settings)
    return Effective(settings, MappingProxyType(origins))


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text())
    except OSError as wrong:
        raise SettingError(f"{file}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise SettingError(f"{file}: not TOML: {wrong}") from wrong


def _convert(name: str, value: Any, origin: str) -> Any:
    """A text or TOML value as the field's type."""
    hint = get_type_hints(Settings)[name]
    kind = next((part for part in get_args(hint) if part is not type(None)), hint) if get_args(hint) else hint
    if name in ("trusted_proxies", "allow_networks"):
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else tuple(value)
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _TRUTH[str(value).lower()]
        return kind(value)
    except (KeyError, ValueError, TypeError) as wrong:
        raise SettingError(f"{origin}: {value!r} is no {kind.__name__}") from wrong


_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _check(settings: Settings) -> None:
    if not 0 <= settings.port <= 65_535:
        raise SettingError(f"port: {settings.port} is not between 0 and 65535")
    for name in ("trusted_proxies", "allow_networks"):
        for text in getattr(settings, name):
            try:
                ip_network(text)
            except ValueError as wrong:
                raise SettingError(f"{name}: {text!r} is no network such as 10.0.0.0/8") from wrong
    if settings.public_url is not None:
        parts = urlsplit(settings.public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise SettingError(f"public_url: {settings.public_url!r} is no base such as https://tocsin.example.com")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingError(f"log_level: {settings.log_level!r} is none of debug, info, warning, error")
    if not 600 <= settings.access_token_s <= 3600:
        raise SettingError("access_token_s: between 600 and 3600")
    if not 0 < settings.delivery_timeout_s <= 60:
        raise SettingError("delivery_timeout_s: more than 0, at most 60")
