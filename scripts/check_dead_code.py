"""Name functions, classes, properties and attributes of src/ that nothing but a test uses.

Uses vulture with our own choice of what counts: fields and enum members are vocabulary and may wait for their reader,
and a frame calls the methods named below, so no line of ours does. Exits with 1 when it names something.
"""

import sys
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parent.parent
JUDGED = frozenset({"attribute", "class", "function", "import", "method", "property", "unreachable_code"})

# Called by name from outside: asyncio protocols, picows, httptools, uvicorn, Alembic.
CALLED_BY_FRAMES = frozenset(
    "connection_made connection_lost data_received eof_received pause_writing resume_writing "
    "on_ws_connected on_ws_frame on_ws_disconnected "
    "on_message_begin on_url on_header on_headers_complete on_body on_message_complete on_chunk_header "
    "on_chunk_complete on_status "
    "startup shutdown upgrade capture_signals should_exit isEnabledFor".split()
)


def main() -> int:
    """Print what is unused; return the exit code."""
    vulture = Vulture()
    vulture.scavenge([str(ROOT / name) for name in ("src", "scripts", "bench") if (ROOT / name).exists()])
    unused = [
        item
        for item in vulture.get_unused_code(min_confidence=60)
        if item.typ in JUDGED and item.name not in CALLED_BY_FRAMES and item.filename.is_relative_to(ROOT / "src")
    ]
    for item in unused:
        where = f"{item.filename.relative_to(ROOT)}:{item.first_lineno}"
        print(f"{where}: {item.typ} {item.name} is used by nothing but a test, if at all")
    return 1 if unused else 0


if __name__ == "__main__":
    sys.exit(main())
