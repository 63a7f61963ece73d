"""What a prewarm pod says: JSON lines on stdout, the result in the termination log. Standard library only."""

import contextlib
import json
import sys
from typing import Any

MOST_MESSAGE_BYTES = 3000
"""The kubelet cuts the termination log at 4096 bytes; a cut JSON document would be unreadable."""


def write_line(document: dict[str, Any]) -> None:
    """Print one line; a reader that went away is not our failure."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(document, separators=(",", ":"), ensure_ascii=False), flush=True)


def write_result(path: str, result: dict[str, Any]) -> None:
    """Put the result where the kubelet reads it, and onto stdout for those who read logs."""
    message = " ".join(str(result["message"]).split()).encode()[:MOST_MESSAGE_BYTES]
    result = {**result, "message": message.decode(errors="ignore")}
    write_line({"result": result})
    try:
        with open(path, "w", encoding="utf-8") as log:
            json.dump(result, log, separators=(",", ":"), ensure_ascii=False)
    except OSError as error:
        print(f"cannot write the result to {path}: {error.strerror}", file=sys.stderr)
