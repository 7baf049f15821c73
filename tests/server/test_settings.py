"""Where each setting comes from, and what is said of one that can't be used."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from tocsin.server.settings import SettingError, Settings, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tocsin.toml"


def test_without_anything_everything_is_default() -> None:
    effective = load_settings({}, {})
    assert effective.settings == Settings()
    assert effective.origins == {one.name: "default" for one in fields(Settings)}


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(file: Path) -> None:
    file.write_text('host = "file"\nport = 1\ndata = "file"\n')
    environ = {"TOCSIN_HOST": "environment", "TOCSIN_PORT": "2", "TOCSIN_SEED": ""}
    effective = load_settings({"host": "flag", "port": None, "tls": None}, environ, file)
    settings = effective.settings
    assert (settings.host, settings.port, settings.data, settings.tls) == ("flag", 2, Path("file"), False)
    assert [effective.origins[name] for name in ("host", "port", "data", "tls", "seed")] == [
        "flag",
        "environment",
        str(file),
        "default",
        "default",
    ]


def test_every_kind_of_setting_is_read_from_a_file(file: Path) -> None:
    file.write_text(
        'tls = true\ndelivery_timeout_s = 5\nlog_days = 30\ntrusted_proxies = ["10.0.0.0/8", "fd00::/8"]\n'
        'env_file = "~/env"\nadmin_token = "t"\npublic_url = "https://tocsin.example/base/"\n'
    )
    settings = load_settings({}, {}, file).settings
    assert (settings.tls, settings.delivery_timeout_s, settings.log_days) == (True, 5.0, 30)
    assert settings.proxies() == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.env_file == Path.home() / "env"
    assert settings.admin_token == "t"
    assert settings.public_url == "https://tocsin.example/base"


def test_every_kind_of_setting_is_read_from_the_environment() -> None:
    environ = {
        "TOCSIN_TLS": "Yes",
        "TOCSIN_DELIVERY_TIMEOUT_S": "2.5",
        "TOCSIN_ALLOW_NETWORKS": "10.0.0.0/8, 192.168.0.0/16 fd00::/8",
        "TOCSIN_DATA": "~/data",
        "TOCSIN_REFERENCE": "a variable that is none of ours",
    }
    settings = load_settings({}, environ).settings
    assert (settings.tls, settings.delivery_timeout_s) == (True, 2.5)
    assert settings.allow_networks == ("10.0.0.0/8", "192.168.0.0/16", "fd00::/8")
    assert settings.data == Path.home() / "data"


def test_an_unknown_key_is_named_with_those_that_are_known(file: Path) -> None:
    file.write_text("prot = 8765\n")
    with pytest.raises(SettingError, match=r"tocsin\.toml: unknown key 'prot'; known are admin_token, .*\bport\b"):
        load_settings({}, {}, file)


@pytest.mark.parametrize(
    "line, said",
    [
        ("port = 8765.5", "port: 8765.5 is not a whole number"),
        ("port = true", "port: True is not a whole number"),
        ("port = '8765'", "port: '8765' is not a whole number"),
        ("tls = 1", "tls: 1 is not true or false"),
        ("delivery_timeout_s = true", "delivery_timeout_s: True is not a number"),
        ("host = 5", "host: this is not a text"),
        ("data = 5", "data: this is not a text"),
        ("admin_token = 12345", "admin_token: this is not a text"),
        ("trusted_proxies = 5", "trusted_proxies: this is not a list of texts"),
        ("trusted_proxies = [1]", "trusted_proxies: this is not a list of texts"),
        ("port = 65536", "port: 65536 is not between 0 and 65535"),
        ("allow_networks = ['here']", "allow_networks: 'here' is no network such as 10.0.0.0/8"),
        ("log_level = 'loud'", "log_level: 'loud' is none of debug, info, warning, error"),
        ("log_days = 0", "log_days: 0 is not between 1 and 3650"),
        ("attempt_days = 4000", "attempt_days: 4000 is not between 1 and 3650"),
        ("delivery_timeout_s = 0", "delivery_timeout_s: 0 is not more than 0 and at most 60"),
        ("delivery_timeout_s = nan", "delivery_timeout_s: nan is not more than 0 and at most 60"),
    ],
)
def test_a_bad_value_in_a_file_is_named_with_its_place(file: Path, line: str, said: str) -> None:
    file.write_text(line)
    with pytest.raises(SettingError) as wrong:
        load_settings({}, {}, file)
    assert str(wrong.value) == f"{file}: {said}"


@pytest.mark.parametrize(
    "url", ["tocsin.example", "ftp://tocsin.example", "https://", "https://x/?a=1", "https://x/#a", "http://x:port"]
)
def test_a_public_url_is_a_base(url: str) -> None:
    with pytest.raises(SettingError) as wrong:
        load_settings({"public_url": url}, {})
    assert str(wrong.value) == f"--public-url: {url!r} is no base such as https://tocsin.example.com"


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("TOCSIN_PORT", "http", "'http' is not a whole number"),
        ("TOCSIN_TLS", "maybe", "'maybe' is not true or false"),
        ("TOCSIN_DELIVERY_TIMEOUT_S", "soon", "'soon' is not a number"),
        ("TOCSIN_LOG_DAYS", "7200", "7200 is not between 1 and 3650"),
    ],
)
def test_a_bad_variable_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(SettingError) as wrong:
        load_settings({}, {name: text})
    assert str(wrong.value) == f"{name}: {said}"


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(SettingError, match=r"tocsin\.toml: No such file"):
        load_settings({}, {}, file)
    for content in (b"port =", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(SettingError, match=r"tocsin\.toml: not TOML: "):
            load_settings({}, {}, file)


def test_a_variable_that_is_no_setting_is_told() -> None:
    environ = {"TOCSIN_PRT": "1", "TOCSIN_PORT": "0", "TOCSIN_REFERENCE": "/somewhere", "PATH": "/bin"}
    assert load_settings({}, environ).unknown == ("TOCSIN_PRT",)
