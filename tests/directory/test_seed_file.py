from __future__ import annotations

import re
from pathlib import Path

import pytest

from tocsin.directory.seed_file import (
    SENDER_FEATURES,
    USER_PERMISSIONS,
    SeedError,
    default_plan,
    parse_seed,
)
from tocsin.domain.directory import ExtensionStatus, NumberFeature, Permission, Role, Scope

GOOD = """
[[app]]
name = "Everything"

[[app]]
name = "Web page"
scopes = ["ReadMessages", "WebSocket"]
redirect_uris = ["https://app.example/back"]
public = true

[[account]]
main_number = "+16505550100"

[[account.extension]]
number = "101"
name = "Ada"
role = "admin"
password = "secret"
email = "ada@example.com"

[[account.extension.phone_numbers]]
number = "(650) 555-0101"

[[account.extension]]
number = "102"
permissions = ["ReadMessages"]
status = "Frozen"
phone_numbers = [{ number = "+442079460958", features = ["SmsSender"] }, { number = "+16505550102", features = [] }]

[[account]]
name = "Second"
main_number = "+12125550100"
[[account.extension]]
number = "101"
"""
ACCOUNT = '[[account]]\nmain_number = "+16505550100"\n'
PERSON = '[[account.extension]]\nnumber = "101"\n'


def test_everything_that_a_file_may_say() -> None:
    plan = parse_seed(GOOD)
    assert [(app.name, app.public) for app in plan.apps] == [("Everything", False), ("Web page", True)]
    assert plan.apps[0].scopes == set(Scope)
    assert plan.apps[1].scopes == {Scope.READ_MESSAGES, Scope.WEBSOCKET}
    assert plan.apps[1].redirect_uris == ("https://app.example/back",)
    first, second = plan.accounts
    assert (first.name, second.name) == ("Company 1", "Second")
    ada, frozen = first.extensions
    assert (ada.role, ada.password, ada.email) == (Role.ADMIN, "secret", "ada@example.com")
    assert ada.permissions == set(Permission)
    assert [(one.number, one.features) for one in ada.numbers] == [("+16505550101", SENDER_FEATURES)]
    assert frozen.name == "Extension 102"
    assert frozen.permissions == {Permission.READ_MESSAGES}
    assert frozen.status is ExtensionStatus.FROZEN
    assert [one.features for one in frozen.numbers] == [{NumberFeature.SMS_SENDER}, frozenset()]
    assert second.extensions[0].permissions == USER_PERMISSIONS


def test_a_file_without_apps_gets_the_default_one() -> None:
    assert parse_seed(ACCOUNT + PERSON).apps == default_plan().apps


BAD = {
    "not toml": ("[[account", "not TOML"),
    "nothing": ("", "account: at least one"),
    "unknown at the top": ("colour = 1\n" + ACCOUNT + PERSON, "colour: unknown key"),
    "unknown in app": ('[[app]]\nname = "a"\nsecret = "s"\n' + ACCOUNT + PERSON, "app[0].secret: unknown key"),
    "unknown in account": (ACCOUNT + "size = 3\n" + PERSON, "account[0].size: unknown key"),
    "unknown in extension": (ACCOUNT + PERSON + "color = 1\n", "account[0].extension[0].color: unknown key"),
    "unknown in number": (
        ACCOUNT + PERSON + 'phone_numbers = [{ number = "+16505550101", sms = true }]\n',
        "account[0].extension[0].phone_numbers[0].sms: unknown key",
    ),
    "app without name": ("[[app]]\n" + ACCOUNT + PERSON, "app[0].name: is missing"),
    "unknown scope": ('[[app]]\nname = "a"\nscopes = ["Fly"]\n' + ACCOUNT + PERSON, "app[0].scopes: 'Fly' is not one"),
    "scopes no list": ('[[app]]\nname = "a"\nscopes = "SMS"\n' + ACCOUNT + PERSON, "app[0].scopes: must be a list"),
    "public no flag": ('[[app]]\nname = "a"\npublic = "yes"\n' + ACCOUNT + PERSON, "app[0].public: must be true"),
    "account no list": ("[account]\nmain_number = 1\n", "account: must be a list of tables"),
    "no main number": ("[[account]]\n" + PERSON, "account[0].main_number: is missing"),
    "bad main number": ('[[account]]\nmain_number = "12"\n' + PERSON, "account[0].main_number: '12' is no phone"),
    "no extension": (ACCOUNT, "account[0].extension: at least one"),
    "number no text": (
        ACCOUNT + "[[account.extension]]\nnumber = 101\n",
        "account[0].extension[0].number: must be a text",
    ),
    "number no digits": (
        ACCOUNT + '[[account.extension]]\nnumber = "1o1"\n',
        "account[0].extension[0].number: '1o1' is not",
    ),
    "empty name": (ACCOUNT + PERSON + 'name = " "\n', "account[0].extension[0].name: must be a text"),
    "unknown role": (ACCOUNT + PERSON + 'role = "boss"\n', "account[0].extension[0].role: 'boss' is not one of admin"),
    "unknown status": (ACCOUNT + PERSON + 'status = "Odd"\n', "account[0].extension[0].status: 'Odd' is not one"),
    "unknown permission": (
        ACCOUNT + PERSON + 'permissions = ["Fly"]\n',
        "account[0].extension[0].permissions: 'Fly' is not one of",
    ),
    "unknown feature": (
        ACCOUNT + PERSON + 'phone_numbers = [{ number = "+16505550101", features = ["Fly"] }]\n',
        "account[0].extension[0].phone_numbers[0].features: 'Fly' is not one of CallerId",
    ),
    "numbers no tables": (
        ACCOUNT + PERSON + 'phone_numbers = ["+16505550101"]\n',
        "account[0].extension[0].phone_numbers: must be a list of tables",
    ),
    "extension twice": (
        ACCOUNT + PERSON + PERSON,
        "account[0].extension[1].number: 101 is already used at account[0].extension[0].number",
    ),
    "phone twice": (
        ACCOUNT + PERSON + 'phone_numbers = [{ number = "6505550100" }]\n',
        "account[0].extension[0].phone_numbers[0].number: +16505550100 is already used at account[0].main_number",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_told_with_its_path(name: str) -> None:
    text, beginning = BAD[name]
    with pytest.raises(SeedError) as wrong:
        parse_seed(text)
    assert str(wrong.value).startswith(beginning)


def test_the_documented_example_is_a_seed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "seed.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (account,) = parse_seed(example).accounts
    assert [one.number for one in account.extensions] == ["101", "102"]


def test_a_company_s_profile_is_its_own() -> None:
    text = """
        [[account]]
        main_number = "+16505550100"
        time_zone = "US/Eastern"
        brand = "Acme Telecom"
        [[account.extension]]
        number = "101"
        [[account]]
        main_number = "+442079460000"
        language = "en-GB"
        [[account.extension]]
        number = "101"
        """
    first, second = (account.profile for account in parse_seed(text).accounts)
    assert (first.brand, first.time_zone, first.language) == ("Acme Telecom", "US/Eastern", "en-US")
    assert (second.brand, second.time_zone, second.language) == ("RingCentral", "US/Pacific", "en-GB")
