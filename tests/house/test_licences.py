import pytest

from scripts.check_licences import is_allowed, kept_sections, locked


@pytest.mark.parametrize("expression", ["MIT", "MIT OR GPL-3.0-only", "Apache-2.0 AND BSD-2-Clause", "Zlib"])
def test_a_permissive_licence_passes(expression: str) -> None:
    assert is_allowed(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "GPL-3.0-or-later",
        "AGPL-3.0-only",
        "LGPL-3.0-only",
        "MIT AND GPL-2.0-only",
        "BSD License",
        "(MIT OR Apache-2.0) AND GPL-2.0-only",  # brackets need a person
    ],
)
def test_an_unlisted_licence_fails(expression: str) -> None:
    assert not is_allowed(expression)


def test_every_notice_is_for_a_locked_version() -> None:
    headings = {part.splitlines()[1].rsplit(" (", 1)[0] for part in kept_sections().values()}
    assert headings
    assert headings <= {f"{name} {version}" for name, version in locked().items()}
