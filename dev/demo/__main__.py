"""`python -m dev.demo`: show torpor, end to end, and clean up; the exit code says whether all of it worked."""

from __future__ import annotations

import argparse
import signal
import sys

from dev.cluster import HarnessError

from .place import Wish, open_place
from .story import Story
from .telling import Narrator


def read_wish(arguments: list[str] | None = None) -> Wish:
    """Read the command line; a wrong one ends the program with its usage."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description="See torpor work.")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--engine", choices=["standin", "vllm"], default="standin")
    parser.add_argument("--context", help="a kubeconfig context of yours, instead of the harness")
    parser.add_argument("--image", help="torpor's image, where that cluster can pull it")
    given = parser.parse_args(arguments)
    return Wish(given.keep, given.engine, given.context, given.image)


def show(wish: Wish, narrator: Narrator) -> None:
    """Tell the story and clean up after it.

    Raises:
        HarnessError: a step failed.
    """
    with open_place(wish, narrator) as place:
        story = Story(place, narrator)
        try:
            story.tell()
        except HarnessError as failed:
            narrator.say(f"FAILED: {failed}")
            raise
        finally:
            if not wish.keep:
                narrator.chapter("cleaning up")
                story.remove()
                narrator.say("endpoint, namespace and the bucket's objects are gone")
        if wish.keep:
            story.say_how_to_try()


def interrupt(_: int, __: object) -> None:
    """Make a polite end (SIGTERM) clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Return 0 if everything was shown, 1 with a sentence if a step failed."""
    signal.signal(signal.SIGTERM, interrupt)
    wish, narrator = read_wish(), Narrator()
    try:
        show(wish, narrator)
    except HarnessError as failed:
        narrator.say(f"the demo failed: {str(failed).splitlines()[0]}")
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted")
        return 130
    if not wish.keep:
        narrator.say("that was all of it, and every number was measured just now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
