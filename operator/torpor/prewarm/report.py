"""What a prewarm pod says: JSON lines on stdout, the result in the termination log. Standard library only."""

import contextlib
import json
import sys
from typing import Any

MOST_RESULT_BYTES = 4096
"""The kubelet cuts the termination log there; a cut JSON document would be unreadable."""

MOST_MESSAGE_BYTES = 3000
"""More than any sentence; less is left beside long lists."""


def write_line(document: dict[str, Any]) -> None:
    """Print one line; a reader that went away is not our failure."""
    with contextlib.suppress(BrokenPipeError):
        print(format_document(document), flush=True)


def write_result(path: str, result: dict[str, Any]) -> None:
    """Put the result where the kubelet reads it, and onto stdout for those who read logs."""
    message = " ".join(str(result["message"]).split())
    room = MOST_RESULT_BYTES - len(format_document({**result, "message": ""}).encode())
    message = _cut(message, min(room, MOST_MESSAGE_BYTES))
    result = {**result, "message": message}
    write_line({"result": result})
    try:
        with open(path, "w", encoding="utf-8") as log:
            log.write(format_document(result))
    except OSError as error:
        print(f"cannot write the result to {path}: {error.strerror}", file=sys.stderr)


def format_document(document: dict[str, Any]) -> str:
    """JSON in as few bytes as it takes."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _cut(message: str, most_bytes: int) -> str:
    """As much of it as takes no more bytes than that in JSON, quotes not counted."""
    message = message.encode()[: max(0, most_bytes)].decode(errors="ignore")
    while len(json.dumps(message, ensure_ascii=False).encode()) - 2 > max(0, most_bytes):
        message = message[:-1]
    return message
