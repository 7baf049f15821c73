from pathlib import Path

import pytest

from tocsin.directory.seed_file import SeedError, default_plan
from tocsin.server.run import read_plan

UNREADABLE = {
    "is a folder": (None, "Is a directory"),
    "no text": (b"\xff", "not TOML: "),
    "no TOML": (b"[[app]", "not TOML: "),
    "a mistake": (b"[[app]]\nname = 1\n", "app[0].name: "),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_wrong_with_a_seed_file_begins_with_its_name(tmp_path: Path, name: str) -> None:
    content, told = UNREADABLE[name]
    file = tmp_path / "seed.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(SeedError) as wrong:
        read_plan(file)
    assert str(wrong.value).startswith(f"{file}: {told}")


def test_without_a_seed_file_it_is_the_default_company() -> None:
    assert read_plan(None) == default_plan()
