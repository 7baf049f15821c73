"""Compare what the code emits with the files under tests/golden, byte for byte.

`make golden` rewrites the files; the diff is what a reviewer reads. Injected ids and times make them stable.
"""

import json
from dataclasses import dataclass
from pathlib import Path

GOLDEN_DIR = Path(__file__).parent / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    """Call it with a name such as `notification/sms-instant` and the bytes, or the JSON value, that was emitted."""

    directory: Path
    rewrite: bool

    def __call__(self, name: str, data: object) -> None:
        """Fail unless `data` is what the file holds; bytes are compared as they are, values as indented JSON."""
        path = self.directory / f"{name}.json"
        emitted = data if isinstance(data, bytes) else render(data)
        if self.rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(emitted)
            return
        assert path.exists(), f"no golden file {path}; `make golden` writes it"
        assert emitted == path.read_bytes(), f"differs from {path}; if that is meant, `make golden` and read the diff"


def render(value: object) -> bytes:
    """Return the value as JSON with sorted keys, two spaces and a newline at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
