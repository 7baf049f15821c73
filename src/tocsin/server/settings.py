"""Every setting of Tocsin in one place: default, unit, meaning and environment name side by side.

Precedence: flag > TOCSIN_… variable > file > default. Unknown keys in a file are errors. No other room reads settings.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

PREFIX = "TOCSIN_"
NOT_SETTINGS = frozenset({"TOCSIN_REFERENCE", "TOCSIN_CRASH_SEED"})
"""Variables of the project's own tests and benches."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingError(ValueError):
    """A setting has a value that can't be used; the message names it, its origin and what to do."""


def _means(meaning: str) -> dict[str, object]:
    return {"meaning": meaning}


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
        default=None, metadata=_means("bearer token of the control API; made and kept in dev")
    )
    delivery_timeout_s: float = field(
        default=10.0, metadata=_means("seconds a receiver has for one notification, in all")
    )
    allow_networks: tuple[str, ...] = field(
        default=(), metadata=_means("networks (CIDR) that webhooks may reach although they are private")
    )
    log_days: int = field(
        default=7, metadata=_means("days for which the log of changes is kept, and with it what is still undelivered")
    )
    attempt_days: int = field(default=30, metadata=_means("days for which attempts to deliver are kept"))
    log_level: str = field(default="info", metadata=_means("debug, info, warning or error"))

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks of trusted proxies."""
        return tuple(ip_network(text) for text in self.trusted_proxies)


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings with where each value came from: "flag", "environment", the file's name, or "default".

    `unknown` are variables that look like settings and are none: a misspelt one is told, not passed over in silence.
    """

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...] = ()


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str] | None = None, file: Path | None = None
) -> Effective:
    """Combine flags (None: not given), environment and file. Raises SettingError.

    An empty variable is one that is not set: that is how compose files spell it.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins = dict.fromkeys(_KINDS, "default")
    for name, value in _from_file(file).items():
        if name not in _KINDS:
            raise SettingError(f"{file}: unknown key {name!r}; known are {', '.join(sorted(_KINDS))}")
        values[name], origins[name] = _from_toml(name, value, f"{file}: {name}"), str(file)
    for name in _KINDS:
        variable = PREFIX + name.upper()
        if text := environ.get(variable):
            values[name], origins[name] = _from_text(name, text, variable), "environment"
    for name, value in flags.items():
        if value is not None and value != ():
            values[name], origins[name] = value, "flag"
    settings = replace(Settings(), **values)
    _check(settings, {name: _place(name, origin) for name, origin in origins.items()})
    if settings.public_url is not None:
        settings = replace(settings, public_url=settings.public_url.rstrip("/"))
    known = {PREFIX + name.upper() for name in _KINDS}
    unknown = (name for name in environ if name.startswith(PREFIX) and name not in known | NOT_SETTINGS)
    return Effective(settings, MappingProxyType(origins), tuple(sorted(unknown)))


def _place(name: str, origin: str) -> str:
    """Where a person changes the setting."""
    match origin:
        case "flag":
            return "--" + name.replace("_", "-")
        case "environment":
            return PREFIX + name.upper()
        case "default":
            return name
        case file:
            return f"{file}: {name}"


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as wrong:
        raise SettingError(f"{file}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise SettingError(f"{file}: not TOML: {wrong}") from wrong


def _kind(hint: Any) -> type:
    """What a field holds: `int` of `int`, `Path` of `Path | None`, `tuple` of `tuple[str, ...]`."""
    if get_origin(hint) is UnionType:
        hint = next(part for part in get_args(hint) if part is not NoneType)
    kind: type = get_origin(hint) or hint
    return kind


_KINDS = {name: _kind(hint) for name, hint in get_type_hints(Settings).items()}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", tuple: "a list of texts"}
_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _from_text(name: str, text: str, place: str) -> Any:
    """A variable's text as what the field holds."""
    kind = _KINDS[name]
    if kind is tuple:
        return tuple(text.replace(",", " ").split())
    if kind is Path:
        return Path(text).expanduser()
    try:
        return _TRUTH[text.strip().lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as wrong:
        raise _not_a(kind, text, place) from wrong


def _from_toml(name: str, value: Any, place: str) -> Any:
    """A TOML value as what the field holds."""
    kind = _KINDS[name]
    if kind is tuple:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind is Path:
        if isinstance(value, str):
            return Path(value).expanduser()
    elif type(value) is kind:
        return value
    raise _not_a(kind, value, place)


def _not_a(kind: type, value: object, place: str) -> SettingError:
    # Numbers and flags are no secrets, so only those are repeated.
    said = repr(value) if kind in (bool, int, float) else "this"
    return SettingError(f"{place}: {said} is not {_WORDS.get(kind, 'a text')}")


_RANGES = {"port": (0, 65_535), "log_days": (1, 3_650), "attempt_days": (1, 3_650)}


def _check(settings: Settings, places: Mapping[str, str]) -> None:
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(settings, name) <= most:
            raise SettingError(f"{places[name]}: {getattr(settings, name)} is not between {least} and {most}")
    for name in ("trusted_proxies", "allow_networks"):
        for text in getattr(settings, name):
            try:
                ip_network(text)
            except ValueError as wrong:
                raise SettingError(f"{places[name]}: {text!r} is no network such as 10.0.0.0/8") from wrong
    if settings.public_url is not None and not _is_base(settings.public_url):
        raise SettingError(
            f"{places['public_url']}: {settings.public_url!r} is no base such as https://tocsin.example.com"
        )
    if settings.log_level not in LOG_LEVELS:
        raise SettingError(f"{places['log_level']}: {settings.log_level!r} is none of {', '.join(LOG_LEVELS)}")
    if not 0 < settings.delivery_timeout_s <= 60:
        raise SettingError(
            f"{places['delivery_timeout_s']}: {settings.delivery_timeout_s:g} is not more than 0 and at most 60"
        )


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
