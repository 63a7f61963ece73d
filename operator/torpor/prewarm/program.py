"""`torpor prewarm MODE`: what the Jobs, the init container and the companion of the engine run.

Several `--hash` name the model, its draft and its adapters, in that order.

The result, good or bad, is one JSON document in the termination log; the exit status is 0 or 1 (2 for a
command line that is none). A hit of `ensure` touches the standard library and two files, nothing else.
"""

import gc
import signal
import sys
from types import FrameType
from typing import Any, NamedTuple

from torpor.errors import TorporError
from torpor.prewarm.layout import Layout, check_hash
from torpor.prewarm.report import write_line, write_result
from torpor.prewarm.results import describe_done, find_bundle
from torpor.settings.prewarm import (
    InvalidSetting,
    PrewarmSettings,
    read_prewarm_settings,
    read_termination_log,
)

USAGE = """usage: torpor prewarm preflight
       torpor prewarm fetch [--hash HASH]...
       torpor prewarm ensure --hash HASH...
       torpor prewarm accompany --hash HASH...
       torpor prewarm collect [--keep HASH]..."""


class Order(NamedTuple):
    """What the command line asks for."""

    mode: str
    hashes: tuple[str, ...] = ()

    @property
    def hash(self) -> str | None:
        """The model's hash, if one was named."""
        return self.hashes[0] if self.hashes else None


_FLAGS = {
    "preflight": "",
    "fetch": "--hash",
    "ensure": "--hash",
    "accompany": "--hash",
    "collect": "--keep",
}
_NEED_HASHES = ("ensure", "accompany")


class Stop(BaseException):
    """SIGTERM. Process 1 of a container ignores it unless it is handled."""


def main(argv: list[str]) -> int:
    """Run one mode as the environment says; returns the exit status."""
    order = parse_order(argv)
    if order is None:
        print(USAGE, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    if order.mode == "accompany":
        return _accompany(order)
    try:
        settings = read_prewarm_settings()
    except InvalidSetting as error:
        return _fail(read_termination_log(), "WeightsInternal", str(error), retryable=False)
    return carry_out(order, settings)


def settle() -> None:
    """Begin to collect garbage, after the imports.

    What they brought stays for good: going through it while it grows takes a tenth of the time to import it, and
    afterwards every collection would go through it again.
    """
    gc.freeze()
    gc.enable()


def carry_out(order: Order, settings: PrewarmSettings) -> int:
    """Run one mode and write its result, whatever happens; returns the exit status."""
    try:
        result = run(order, settings)
    except TorporError as error:
        retryable = getattr(error, "retryable", False)
        return _fail(settings.termination_log, error.reason, error.message, retryable=retryable)
    except Stop:
        text = "stopped by SIGTERM before the weights were there"
        return _fail(settings.termination_log, "WeightsInternal", text, retryable=True)
    except Exception as error:
        import traceback

        traceback.print_exc()
        text = f"unexpected {type(error).__name__}: {error}; the pod's log has more"
        return _fail(settings.termination_log, "WeightsInternal", text, retryable=True)
    write_result(settings.termination_log, result)
    return 0


def parse_order(argv: list[str]) -> Order | None:
    """Read the command line; None if it is not one of ours."""
    mode, words = (argv[0], argv[1:]) if argv else ("", [])
    flag = _FLAGS.get(mode)
    names, flags = tuple(words[1::2]), set(words[::2])
    if flag is None or len(words) % 2 or flags - {flag}:
        return None
    if mode in _NEED_HASHES and not names:
        return None
    return Order(mode, names)


def run(order: Order, settings: PrewarmSettings) -> dict[str, Any]:
    """Carry out an order; returns what goes into the termination log.

    Raises:
        TorporError: it cannot be done.
    """
    if order.mode == "preflight":
        return _preflight(settings)
    if order.mode == "collect":
        return _collect(settings, order.hashes)
    for name in order.hashes:
        check_hash(name)
    result = _bring(order, settings)
    if order.mode in ("fetch", "ensure") and settings.compile_key:
        result |= _compiled(order, settings)
    return result


def _bring(order: Order, settings: PrewarmSettings) -> dict[str, Any]:
    """A Job does not take the short way: it reads suspect copies back, and measures the cache."""
    engine = order.mode in _NEED_HASHES
    found = find_bundle(settings, order.hashes) if engine else None
    if found is not None:
        return describe_done(found)
    from torpor.prewarm.artifacts import bring_bundle
    from torpor.prewarm.fetch import Asker

    settle()
    done, cache = bring_bundle(Asker(settings, write_line, engine), order.hashes)
    return {**describe_done(done), **(cache.describe() if cache else {})}


def _collect(settings: PrewarmSettings, keep: tuple[str, ...]) -> dict[str, Any]:
    from torpor.prewarm.collect import collect, collect_patiently
    from torpor.prewarm.room import split_hashes

    settle()
    kept = split_hashes(settings.keep).union(check_hash(name) for name in keep)
    layout = Layout(settings.cache_dir)
    act = collect_patiently if settings.keep_as_of else collect  # a Job of the controller can wait
    return act(layout, kept, settings.keep_as_of).describe(layout)


def _accompany(order: Order) -> int:
    """Accompany an engine until the end, which is never a failure: the engine's pod would have it too."""
    try:
        from torpor.prewarm.companion import accompany, idle

        settle()
        try:
            settings = read_prewarm_settings()
        except InvalidSetting as error:
            write_line({"companion": {"step": "settings", "error": str(error)}})
            idle()
        accompany(settings, order.hashes)
    except Stop:
        return 0


def _compiled(order: Order, settings: PrewarmSettings) -> dict[str, Any]:
    """Give the pod what engines like its own have compiled before; a node that has nothing asks the bucket first."""
    from torpor.prewarm.compiled import has_entry

    said: dict[str, Any] = {}
    own = Layout(settings.cache_dir).compiled
    if settings.compile_store == "s3" and not has_entry(own, settings.compile_key):
        from torpor.prewarm.compiledstore import bring_entry

        said["compiledBrought"] = bring_entry(settings)
    if order.mode == "ensure" and settings.compile_dir:
        import os

        from torpor.prewarm.compiled import restore

        layout, pod = Layout(settings.cache_dir).compiled, os.uname().nodename
        given = restore(layout, settings.compile_key, settings.compile_dir, pod)
        said["compiled"] = given._asdict()
    return said


def _preflight(settings: PrewarmSettings) -> dict[str, Any]:
    from torpor.prewarm.artifacts import list_bundle

    settle()
    return list_bundle(settings, write_line)


def _fail(log: str, reason: str, message: str, *, retryable: bool) -> int:
    result = {"reason": reason, "message": message, "retryable": retryable}
    write_result(log, result)
    return 1


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stop
