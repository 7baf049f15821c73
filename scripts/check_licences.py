"""Check the licence of every package that a user of Tocsin installs, and keep THIRD_PARTY_NOTICES in step.

Reads requirements/run.txt for the names and the installed packages for their licences. With --write it writes the
notices, without it it says what is wrong and exits with 1. A package that this platform does not install (a marker in
the lock) keeps the section it has.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "run.txt"
NOTICES = ROOT / "THIRD_PARTY_NOTICES"

# SPDX identifiers. What is not here fails, the GPL family included: adding one is a decision, not a repair.
ALLOWED = frozenset(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause ISC MIT MIT-0 PSF-2.0 Python-2.0 Unlicense Zlib blessing".split()
)
# Older metadata names a licence in words. "BSD License" alone does not say which one, so it is not here.
SPELLINGS = {
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
}
# The metadata of these says nothing; the licence is what their licence file says.
READ_BY_HAND = {"aiofastnet": "MIT", "picows": "MIT", "pysqlite3": "Zlib"}

HEADER = """\
Third-party notices

Tocsin installs the packages below. Each is the work of its authors, under the licence that follows its name.
This file is made by `make notices`; `make check` fails when it is out of date.
"""
RULE = "=" * 100
_LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
_LICENCE_FILE = re.compile(r"\.dist-info/.*(licen[cs]e|copying|notice)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """One package in the notices: its heading (name, version, licence) and the texts of its licence files."""

    name: str
    heading: str
    text: str

    def render(self) -> str:
        """Return the section as it stands in the file."""
        return f"{RULE}\n{self.heading}\n{RULE}\n\n{self.text}\n"


def locked() -> dict[str, str]:
    """Return the locked run-time packages, name to version."""
    return {found["name"]: found["version"] for found in _LOCKED.finditer(LOCK.read_text())}


def licence_of(package: Distribution) -> str:
    """Return the SPDX expression that the package states, or an empty string when it states none that is clear."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    stated = metadata["License"].strip() if "License" in metadata else ""
    if is_allowed(SPELLINGS.get(stated, stated)):
        return SPELLINGS.get(stated, stated)
    in_words = [
        line.rsplit("::", 1)[-1].strip() for line in metadata.get_all("Classifier") or [] if "License ::" in line
    ]
    known = [SPELLINGS[words] for words in in_words if words in SPELLINGS]
    if known and len(known) == len(in_words):
        return " OR ".join(known)
    return READ_BY_HAND.get(metadata["Name"], "")


def is_allowed(expression: str) -> bool:
    """Whether one of the alternatives of an SPDX expression is on the list as a whole; brackets need a person."""
    alternatives = [each.split(" AND ") for each in expression.split(" OR ")]
    return "(" not in expression and any(ALLOWED.issuperset(each) for each in alternatives)


def section_of(name: str, package: Distribution) -> Section:
    """Return the package's section; its texts are in the order of their file names."""
    files = sorted((file for file in package.files or [] if _LICENCE_FILE.search(str(file))), key=str)
    texts = [Path(str(file.locate())).read_text(encoding="utf-8", errors="replace").strip() for file in files]
    text = "\n\n".join("\n".join(line.rstrip() for line in each.splitlines()) for each in texts)
    return Section(name, f"{name} {package.version} ({licence_of(package)})", text)


def kept_sections() -> dict[str, str]:
    """Return the sections that the file holds, name to rendered text."""
    if not NOTICES.exists():
        return {}
    parts = re.split(rf"^(?={RULE}\n\S+ \S+ \()", NOTICES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.removeprefix(f"{RULE}\n").split(" ", 1)[0]: part for part in parts[1:]}


def survey() -> tuple[list[str], str]:
    """Return what is wrong with the licences, and the notices as they should be."""
    wrong: list[str] = []
    kept = kept_sections()
    sections: list[str] = []
    for name, version in sorted(locked().items()):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            sections += [kept[name].rstrip("\n") + "\n"] if name in kept else []
            continue
        if package.version != version:
            wrong.append(f"{name} {package.version} is installed, {version} is locked: `make setup`")
        licence = licence_of(package)
        if not is_allowed(licence):
            wrong.append(
                f"{name}: its licence, {licence or 'not stated'}, is not on the list in scripts/check_licences.py"
            )
        section = section_of(name, package)
        if not section.text:
            wrong.append(f"{name}: it carries no licence file")
        sections.append(section.render())
    return wrong, HEADER + "\n" + "\n".join(sections)


def main() -> int:
    """Check, or write with --write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write THIRD_PARTY_NOTICES")
    arguments = parser.parse_args()
    wrong, notices = survey()
    if arguments.write:
        NOTICES.write_text(notices, encoding="utf-8")
    elif not NOTICES.exists() or NOTICES.read_text(encoding="utf-8") != notices:
        wrong.append("THIRD_PARTY_NOTICES is out of date: `make notices`")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
