"""An account shows what the directory says of it, and nothing that is the same for every company."""

from __future__ import annotations

from tocsin.domain.directory import Account, AccountProfile
from tocsin.domain.ids import AccountId
from tocsin.wire.directory import render_account


def test_an_account_shows_its_own_profile() -> None:
    profile = AccountProfile("Acme Telecom", "Gold", "US/Eastern", "en-GB")
    account = Account(AccountId(1), "Acme", "+442079460000", True, 0, profile=profile)
    shown = render_account(account, "http://localhost")
    assert shown["serviceInfo"]["brand"]["name"] == "Acme Telecom"
    assert shown["serviceInfo"]["servicePlan"]["name"] == shown["serviceInfo"]["billingPlan"]["name"] == "Gold"
    assert shown["regionalSettings"]["timezone"] == {"name": "US/Eastern", "description": "US/Eastern"}
    assert shown["regionalSettings"]["language"]["localeCode"] == "en-GB"
    assert shown["regionalSettings"]["homeCountry"]["isoCode"] == "GB"
