"""The engine's neighbour in its pod: warms the page cache while it starts, and keeps what it compiled once it is ready.

It never fails: whatever goes wrong is said in a line, and the container idles. The main thread does nothing but wait
for the signal to end, which wakes up for nothing else; so the end is immediate, whatever is under way, and what was
half done is thrown away by whoever comes next.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from torpor import clock
from torpor.prewarm.layout import Layout, check_hash
from torpor.prewarm.report import write_line
from torpor.settings.prewarm import PrewarmSettings

POLL_SECONDS = 1.0
_END = (signal.SIGTERM, signal.SIGINT)

Say = Callable[[dict[str, Any]], None]


def accompany(settings: PrewarmSettings, hashes: tuple[str, ...]) -> NoReturn:
    """Do what there is to do for an engine with these weights, idle until told to end, and end the process with 0."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)  # before any thread exists: they inherit it
    threading.Thread(target=work, args=(settings, hashes, write_line), daemon=True).start()
    idle()


def idle() -> NoReturn:
    """Wait for the signal to end. Interpreter shutdown would wait for locks that other threads hold, so skip it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    signal.sigwait(_END)
    os._exit(0)


def work(settings: PrewarmSettings, hashes: tuple[str, ...], say: Say) -> None:
    """Do everything once, and say what became of it."""
    healthy = threading.Event()
    if settings.warm_pages:
        warming = threading.Thread(
            target=_attempt,
            args=("pages", lambda: _warm(settings, hashes, healthy), say),
            daemon=True,
        )
        warming.start()
    _attempt("engine", lambda: _await_engine(settings.engine_port), say)
    healthy.set()
    if settings.compile_key and settings.compile_dir:
        _attempt("compiled", lambda: _keep_compiled(settings, hashes), say)


def is_healthy(port: int) -> bool:
    """Whether the engine answers `GET /health` with 200; it refuses connections until the model is loaded."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=POLL_SECONDS) as link:
            link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while b"\r\n" not in answer and len(answer) < 4096:
                piece = link.recv(4096)
                if not piece:
                    return False
                answer += piece
    except OSError:
        return False
    return answer.split(b" ", 2)[1:2] == [b"200"]


def _attempt(what: str, act: Callable[[], dict[str, Any]], say: Say) -> None:
    begun = clock.monotonic()
    try:
        result = act()
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    say({"companion": {"step": what, **result, "seconds": round(clock.monotonic() - begun, 3)}})


def _await_engine(port: int) -> dict[str, Any]:
    pause = threading.Event()
    while not is_healthy(port):
        pause.wait(POLL_SECONDS)
    return {"message": "the engine is healthy"}


def _warm(
    settings: PrewarmSettings, hashes: tuple[str, ...], healthy: threading.Event
) -> dict[str, Any]:
    from torpor.prewarm.pages import find_shards, find_tier, read_memory, warm_pages

    layout = Layout(settings.cache_dir)
    folders = [layout.model(check_hash(name)) for name in hashes]
    tier = find_tier(folders[0])
    return warm_pages(find_shards(folders), tier, healthy, read_memory())._asdict()


def _keep_compiled(settings: PrewarmSettings, hashes: tuple[str, ...]) -> dict[str, Any]:
    """Publish what was compiled, and say how much the engine compiled beside what it had been given."""
    from torpor.prewarm.compiled import clear_starts, key_parts, name_key
    from torpor.prewarm.harvest import harvest, survey

    layout = Layout(settings.cache_dir).compiled
    parts = key_parts(settings.compile_key)
    clear_starts(layout, name_key(parts))
    done = harvest(
        layout,
        parts,
        settings.compile_dir,
        weights=hashes[0],
        pod=os.uname().nodename,
        budget_bytes=settings.budget_bytes,
    )
    result: dict[str, Any] = {
        "key": name_key(parts),
        "published": done.published,
        "message": done.message,
    }
    if done.entry is not None:
        now = survey(settings.compile_dir)
        fresh = [facts[0] for path, facts in now.items() if path not in done.entry.files]
        result |= {
            "bytes": done.entry.total_bytes,
            "files": len(done.entry.files),
            "newBytes": sum(fresh),
        }
        if settings.compile_store == "s3":
            from torpor.prewarm.compiledstore import send_entry

            result["store"] = send_entry(settings, done.entry)
    return result
