"""The page itself: one document put together from its parts once, at the start, and the policy that pins them down."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources

SCRIPTS = ("figures.js", "day.js", "table.js", "asking.js")
"""In the order in which they need each other."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The document and its Content-Security-Policy."""

    html: str
    policy: str


def make_sheet() -> Sheet:
    """Return the page; nothing on it comes from elsewhere, and nothing runs whose hash is not in the policy."""
    folder = resources.files("torpor.controller.page") / "look"
    style = (folder / "page.css").read_text("utf-8")
    script = '"use strict";\n' + "\n".join((folder / name).read_text("utf-8") for name in SCRIPTS)
    html = (folder / "page.html").read_text("utf-8")
    html = html.replace("/* the style */", style).replace("/* the script */", script)
    policy = (
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return Sheet(html, "; ".join(policy))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
