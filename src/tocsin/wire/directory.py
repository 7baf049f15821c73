"""Accounts, extensions and phone numbers as RingCentral shows them.

Ids are numbers here, except an extension's `account.id`. Whatever a company or a person may differ in comes from
the directory; ids of languages and time zones are RingCentral's own vocabulary.
Source: RC readAccountInfo, readExtension, listExtensions, listExtensionPhoneNumbers, listAccountPhoneNumbers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tocsin.domain.address import number_info
from tocsin.domain.directory import Account, Extension, NumberFeature, Permission, PhoneNumber
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.domain.location import location_of
from tocsin.wire.times import render_time

Json = dict[str, Any]

# RC's own ids of these countries; of others only what the number itself tells is shown.
_COUNTRIES = {"US": ("1", "United States"), "CA": ("39", "Canada"), "GB": ("224", "United Kingdom")}
_TOLL_FREE = frozenset({"800", "822", "833", "844", "855", "866", "877", "888"})
# RC's own ids of these; of others the name alone is shown.
_LANGUAGES = {"en-US": ("1033", "English (United States)"), "en-GB": ("2057", "English (United Kingdom)")}
_TIME_ZONES = {"US/Pacific": ("58", "Pacific Time (US & Canada)", "-480")}
_FREE = {"durationUnit": "Month", "duration": 1, "type": "Free"}
"""What every plan costs here."""
_LIMITED = "ExtensionLimitation"
_NOT_OFFERED = "AccountLimitation"


def account_uri(base_url: str, account_id: AccountId) -> str:
    """Return the absolute uri of an account."""
    return f"{base_url}/restapi/v1.0/account/{account_id}"


def extension_uri(base_url: str, account_id: AccountId, extension_id: ExtensionId) -> str:
    """Return the absolute uri of an extension."""
    return f"{account_uri(base_url, account_id)}/extension/{extension_id}"


def render_account(account: Account, base_url: str) -> Json:
    """Return the account; its operator is the first admin."""
    home, profile = render_country(account.main_number, base_url, full=True), account.profile
    shown: Json = {
        "id": account.account_id,
        "uri": account_uri(base_url, account.account_id),
        "mainNumber": account.main_number,
        "status": "Confirmed" if account.enabled else "Disabled",
        "serviceInfo": {
            "uri": f"{account_uri(base_url, account.account_id)}/service-info",
            "brand": {"id": "1210", "name": profile.brand, "homeCountry": home},
            "servicePlan": {"id": "1", "name": profile.service_plan},
            "billingPlan": {"id": "1", "name": profile.service_plan, **_FREE},
        },
        "regionalSettings": _regional_settings(account, base_url),
        "signupInfo": {"creationTime": render_time(account.created_ms)},
        "setupWizardState": "Completed",
        "limits": {"maxExtensionNumberLength": 8, "shortExtensionNumberLength": 3},
    }
    if account.operator is not None:
        shown["operator"] = _named(account.operator, base_url)
    return shown


def render_extension(extension: Extension, account: Account, base_url: str) -> Json:
    """Return one extension in full."""
    return {
        **render_listed_extension(extension, account, base_url),
        "account": {"id": str(account.account_id), "uri": account_uri(base_url, account.account_id)},
        "departments": [],
        "regionalSettings": _regional_settings(account, base_url),
        "serviceFeatures": [_feature(name, enabled, reason) for name, enabled, reason in _features(extension)],
        "setupWizardState": "Completed",
    }


def render_listed_extension(extension: Extension, account: Account, base_url: str) -> Json:
    """Return one extension as a list of them has it."""
    first, _, last = extension.name.partition(" ")
    contact = {"firstName": first, "company": account.name, "businessPhone": _business_phone(extension, account)}
    if last:
        contact["lastName"] = last
    if extension.email is not None:
        contact["email"] = extension.email
    return {
        "id": extension.extension_id,
        "uri": extension_uri(base_url, account.account_id, extension.extension_id),
        "extensionNumber": extension.number,
        "name": extension.name,
        "type": "User",
        "status": extension.status.value,
        "contact": contact,
        "permissions": {
            "admin": {"enabled": extension.is_admin},
            "internationalCalling": {"enabled": _is_international(extension)},
        },
        "hidden": False,
    }


def render_own_number(number: PhoneNumber, extension: Extension, base_url: str) -> Json:
    """Return a number as the list of `extension` has it: its own, or one of the company's, which is nobody's mailbox.

    `features` is always there, for applications read it unasked.
    """
    shown = {
        **_number(number, extension_uri(base_url, extension.account_id, extension.extension_id)),
        "country": render_country(number.number, base_url),
        "features": [one.value for one in NumberFeature if one in number.features],
    }
    if number.extension_id == extension.extension_id:
        shown["extension"] = _named(extension, base_url) | {"name": extension.name, "type": "User"}
    return shown


def render_company_number(number: PhoneNumber, account: Account, base_url: str) -> Json:
    """Return a number as the account's list has it, with the extension whose mailbox it is."""
    shown = _number(number, account_uri(base_url, account.account_id))
    extension = None if number.extension_id is None else account.extensions.get(number.extension_id)
    if extension is not None:
        shown["extension"] = _named(extension, base_url) | {"name": extension.name}
    return shown


def payment_type(number: PhoneNumber) -> str:
    """Return "TollFree" or "Local"."""
    info = number_info(number.number)
    toll_free = info is not None and info.country_code == "1" and info.national_destination_code in _TOLL_FREE
    return "TollFree" if toll_free else "Local"


def render_country(number: str, base_url: str, *, full: bool = False) -> Json:
    """Return the country of an E.164 number; `full` has its ISO and calling codes too."""
    code = _region(number)
    shown: Json = {}
    if code in _COUNTRIES:
        country_id, name = _COUNTRIES[code]
        shown = {"id": country_id, "uri": f"{base_url}/restapi/v1.0/dictionary/country/{country_id}", "name": name}
    if full:
        info = number_info(number)
        if code:
            shown["isoCode"] = code
        if info is not None:
            shown["callingCode"] = info.country_code
    return shown


def _named(extension: Extension, base_url: str) -> Json:
    return {
        "id": extension.extension_id,
        "uri": extension_uri(base_url, extension.account_id, extension.extension_id),
        "extensionNumber": extension.number,
    }


def _number(number: PhoneNumber, list_owner: str) -> Json:
    shown: Json = {
        "id": number.phone_number_id,
        "uri": f"{list_owner}/phone-number/{number.phone_number_id}",
        "phoneNumber": number.number,
        "type": "VoiceFax",
        "usageType": number.usage_type,
        "paymentType": payment_type(number),
        "status": "Normal",
        "primary": number.primary,
    }
    place = location_of(number.number)
    if place is not None:
        shown["location"] = place
    return shown


def _business_phone(extension: Extension, account: Account) -> str:
    primary = [one.number for one in extension.numbers if one.primary]
    return primary[0] if primary else account.main_number


def _regional_settings(account: Account, base_url: str) -> Json:
    zone, language = account.profile.time_zone, account.profile.language
    shown_zone: Json = {"name": zone, "description": zone}
    if zone in _TIME_ZONES:
        zone_id, description, bias = _TIME_ZONES[zone]
        uri = f"{base_url}/restapi/v1.0/dictionary/timezone/{zone_id}"
        shown_zone = {"id": zone_id, "uri": uri, "name": zone, "description": description, "bias": bias}
    shown_language = {"localeCode": language, "name": language}
    if language in _LANGUAGES:
        language_id, name = _LANGUAGES[language]
        shown_language = {"id": language_id, "name": name, "localeCode": language}
    return {
        "homeCountry": render_country(account.main_number, base_url, full=True),
        "timezone": shown_zone,
        "language": shown_language,
        "greetingLanguage": shown_language,
        "formattingLocale": shown_language,
        "timeFormat": "24h" if language not in ("en-US", "en-CA") else "12h",
    }


def _is_international(extension: Extension) -> bool:
    return any(NumberFeature.INTERNATIONAL_SMS_SENDER in one.features for one in extension.numbers)


def _features(extension: Extension) -> list[tuple[str, bool, str]]:
    """Each service feature that applications look for: whether it is on, and why it is off where it is."""
    can = {feature for number in extension.numbers for feature in number.features}
    texts = extension.may(Permission.OUTBOUND_SMS)
    pages = extension.may(Permission.INTERNAL_SMS)
    return [
        ("SMS", texts and NumberFeature.SMS_SENDER in can, _LIMITED),
        ("SMSReceiving", NumberFeature.SMS_SENDER in can, _LIMITED),
        ("MMS", texts and NumberFeature.MMS_SENDER in can, _LIMITED),
        ("InternationalSMS", texts and NumberFeature.INTERNATIONAL_SMS_SENDER in can, _LIMITED),
        ("Pager", pages, _LIMITED),
        ("PagerReceiving", True, ""),
        ("Fax", False, _NOT_OFFERED),
        ("FaxReceiving", False, _NOT_OFFERED),
        ("Voicemail", False, _NOT_OFFERED),
        ("VoicemailToText", False, _NOT_OFFERED),
    ]


def _feature(name: str, enabled: bool, reason: str) -> Json:
    shown: Json = {"featureName": name, "enabled": enabled}
    return shown if enabled else shown | {"reason": reason}


@lru_cache(maxsize=4096)
def _region(number: str) -> str:
    """ISO code of the country of an E.164 number, "" where no country has it."""
    import phonenumbers as plans

    try:
        return plans.region_code_for_number(plans.parse(number)) or ""
    except plans.NumberParseException:
        return ""
