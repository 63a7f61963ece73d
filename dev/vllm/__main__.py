"""`python3 -m dev.vllm setup | check | paths | serve | record`: the real engine on this machine.

`setup` installs it, makes the model and starts it once; `check` says by its exit code whether that
is done; `paths` prints where things lie; `serve [--port N]` runs it; `record` writes anew what the
stand-in is held to (`recorded.json`).
"""

import argparse
import fcntl
import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import conversation, install, server
from .layout import VERSION, Layout, find_layout, recipe

WARM_UP_PORT = 18399


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Hold the folder's lock: of two set-ups at once the second waits and finds the work done."""
    layout.root.mkdir(parents=True, exist_ok=True)
    with (layout.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(layout: Layout) -> None:
    """Install, make the model, start once; nothing of it when it was all done before.

    Raises:
        SetupError: a step failed; the next call goes on from there.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}s] {text}", file=sys.stderr, flush=True)

    if layout.is_ready():
        say(f"vLLM is ready in {layout.root}")
        return
    with alone(layout):
        if layout.is_ready():
            return
        free = shutil.disk_usage(layout.root).free
        if not layout.venv.exists() and free < 12 * 2**30:
            raise install.SetupError(
                f"{layout.root} has {free / 2**30:.1f} GiB free, 12 are needed"
            )
        install.install(layout, say)
        install.make_model(layout, say)
        warm_up(layout, say)
        layout.done.write_text(recipe())
        say(f"vLLM is ready in {layout.root}")


def warm_up(layout: Layout, say: Callable[[str], None]) -> None:
    """Start vLLM once and ask it something: fills its caches, and proves that it works."""
    say("starting it once (up to a minute)")
    layout.warm.mkdir(exist_ok=True)
    layout.warm.chmod(0o1777)
    with server.serve(layout, WARM_UP_PORT, layout.root / "warm-up.log") as running:
        body = {"messages": [{"role": "user", "content": "Sleep well."}], "max_tokens": 8}
        question = urllib.request.Request(
            f"{running.url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(question, timeout=60) as answer:
            tokens = json.load(answer)["usage"]["completion_tokens"]
        say(f"healthy after {running.seconds_to_healthy:.1f} s, said {tokens} tokens")


def record(layout: Layout) -> None:
    """Ask real vLLM the whole conversation and keep the form of its answers."""
    log = layout.root / "record.log"
    with server.serve(layout, WARM_UP_PORT, log, conversation.ARGUMENTS):
        replies = {
            question.name: question.send("127.0.0.1", WARM_UP_PORT).form()
            for question in conversation.QUESTIONS
        }
    text = json.dumps({"vllm": VERSION, "replies": replies}, indent=1, ensure_ascii=False)
    conversation.RECORDED.write_text(text + "\n")


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.vllm", description=__doc__)
    parser.add_argument("command", choices=["setup", "check", "paths", "serve", "record"])
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    layout = find_layout()
    try:
        if given.command == "setup":
            set_up(layout)
        elif given.command == "check":
            return 0 if layout.is_ready() else 1
        elif given.command == "paths":
            for name in ("root", "venv", "packages", "model", "warm"):
                print(f"{name}={getattr(layout, name)}")
        elif given.command == "record":
            set_up(layout)
            record(layout)
        else:
            set_up(layout)
            with server.serve(layout, given.port, layout.root / "serve.log") as running:
                print(f"{running.url} (log: {running.log}); Ctrl-C ends it", flush=True)
                running.process.wait()
    except KeyboardInterrupt:
        return 130
    except install.SetupError as error:
        print(f"vLLM: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
