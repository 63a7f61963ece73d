"""The program: `python3 -m standin [serve] <model folder> [vLLM's arguments]`."""

import asyncio
import logging
import sys

from . import arguments, switches
from .life import Engine, StartFailedError


def main() -> int:
    """Run one engine; return the exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(levelname)s %(asctime)s [standin] %(message)s",
        datefmt="%m-%d %H:%M:%S",
    )
    given = arguments.parse(sys.argv[1:])
    try:
        wanted = switches.read()
    except ValueError as error:
        logging.error("%s", error)
        return 2
    if given.unknown:
        logging.warning("arguments that the stand-in ignores: %s", " ".join(given.unknown))
    try:
        return asyncio.run(Engine(given, wanted).run())
    except StartFailedError as error:
        *causes, last = str(error).splitlines()
        for line in causes:
            print(f"(EngineCore) ERROR {line}", file=sys.stderr)
        print(wanted.last_words or last, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
