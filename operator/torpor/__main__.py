"""`torpor PROGRAM …`: argv → one program, imported only when asked for: a prewarm hit takes milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

USAGE = """usage: torpor PROGRAM [arguments]

  controller   watch InferenceEndpoints and run them (settings: TORPOR_CONTROLLER_*)
  gateway      answer the OpenAI API, hold requests, wake endpoints (settings: TORPOR_GATEWAY_*)
  prewarm      check and fetch weights: preflight | fetch [--hash HASH] | ensure --hash HASH
  crd          print the CustomResourceDefinitions, or write them: crd [--output DIR]
  key          make an API key: key create [NAME]
  report       what endpoints used in a month, as a table, CSV, JSON or FOCUS: report [--month YYYY-MM]
  prices       make GPUClasses from a price list: prices import FILE.csv [--region REGION]
  simulate     replay a trace of requests through the keep-alive policy: simulate --trace FILE [--policy POLICY]
"""


def main(argv: list[str] | None = None) -> int:
    """Run the program that *argv* names; 2 for a wrong call."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0
    program = _PROGRAMS.get(arguments[0]) if arguments else None
    if program is None:
        sys.stderr.write(USAGE)
        return 2
    return program(arguments[1:])


def _controller(argv: list[str]) -> int:
    from torpor.controller.program import main as run

    return run(argv)


def _gateway(argv: list[str]) -> int:
    from torpor.gateway.program import main as run

    return run(argv)


def _prewarm(argv: list[str]) -> int:
    from torpor.prewarm.program import main as run

    return run(argv)


def _crd(argv: list[str]) -> int:
    from torpor.api.crd import generate

    if argv and (len(argv) != 2 or argv[0] != "--output"):
        sys.stderr.write("usage: torpor crd [--output DIR]\n")
        return 2
    for name, text in generate().items():
        if argv:
            Path(argv[1]).mkdir(parents=True, exist_ok=True)
            (Path(argv[1]) / name).write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text if text.startswith("---") else f"---\n{text}")
    return 0


def _key(argv: list[str]) -> int:
    """Print a new key once, and the hash that goes into the endpoint; nothing is stored."""
    import hashlib
    import secrets

    if not argv or argv[0] != "create" or len(argv) > 2 or argv[-1].startswith("-"):
        sys.stderr.write("usage: torpor key create [NAME]\n")
        return 2
    key = f"tp-{secrets.token_urlsafe(32)}"
    name = argv[1] if len(argv) == 2 else "default"
    sha256 = hashlib.sha256(key.encode()).hexdigest()
    sys.stdout.write(
        f"key (shown once, give it to the client): {key}\n"
        "put this into the endpoint:\n"
        f"spec:\n  access:\n    keys:\n      - name: {name}\n        sha256: {sha256}\n"
    )
    return 0


def _report(argv: list[str]) -> int:
    from torpor.report.program import main as run

    return run(argv)


def _prices(argv: list[str]) -> int:
    from torpor.prices.program import main as run

    return run(argv)


def _simulate(argv: list[str]) -> int:
    from torpor.simulate.program import main as run

    return run(argv)


_PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "controller": _controller,
    "gateway": _gateway,
    "prewarm": _prewarm,
    "crd": _crd,
    "key": _key,
    "report": _report,
    "prices": _prices,
    "simulate": _simulate,
}

if __name__ == "__main__":
    sys.exit(main())
