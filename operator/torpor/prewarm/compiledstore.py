"""Compiled code between the node and the bucket: sent once by whoever publishes it, brought to nodes that lack it.

Whatever goes wrong is a sentence and no failure: an engine that is given nothing compiles.
"""

import io
import os
import shutil

from torpor.domain.fetching import RemoteFile
from torpor.errors import TorporError
from torpor.prewarm.bundle import MOST_BUNDLE_BYTES, NoBundle, bundle_name, pack, unpack
from torpor.prewarm.compiled import Entry, find_entry, key_parts, name_key
from torpor.prewarm.layout import Layout
from torpor.prewarm.locks import try_lock
from torpor.prewarm.store import Session, Store
from torpor.prewarm.upload import put_stream
from torpor.settings.prewarm import PrewarmSettings

READ_BYTES = 8 * 1024 * 1024


def send_entry(settings: PrewarmSettings, entry: Entry) -> str:
    """Put an entry of this node into the bucket, unless it is there; returns what became of it."""
    try:
        session = Store(settings).session()
        try:
            name = bundle_name(entry.key)
            if _find(session, name) is not None:
                return "the bucket has it"
            size = put_stream(session, name, pack(Layout(settings.cache_dir).compiled, entry))
            return f"put {size} bytes to {session.address.source}{name}"
        finally:
            session.close()
    except (TorporError, OSError) as error:
        return f"not put into the bucket: {error}"


def bring_entry(settings: PrewarmSettings) -> str:
    """Publish on this node what the bucket has for engines like this one; returns what became of it."""
    layout = Layout(settings.cache_dir).compiled
    key = name_key(key_parts(settings.compile_key))
    if find_entry(layout, key) is not None:
        return "the node has it"
    try:
        held = try_lock(layout.lock(key))
        if held is None:
            return "another pod on this node publishes it now"
        try:
            return _bring(settings, layout, key)
        finally:
            shutil.rmtree(layout.partial(key), ignore_errors=True)
            os.close(held)
    except (TorporError, NoBundle, OSError) as error:
        return f"not taken from the bucket: {error}"


def _bring(settings: PrewarmSettings, layout: Layout, key: str) -> str:
    if find_entry(layout, key) is not None:
        return "the node has it"
    session = Store(settings).session()
    try:
        file = _find(session, bundle_name(key))
        if file is None:
            return "the bucket has nothing compiled for this engine"
        if file.size > MOST_BUNDLE_BYTES:
            raise NoBundle(f"it has {file.size} bytes, at most {MOST_BUNDLE_BYTES} are taken")
        stream = io.BufferedReader(_Ranges(session, file), READ_BYTES)
        entry = unpack(layout, key, stream, settings.budget_bytes)
        return f"brought {entry.total_bytes} bytes, compiled by {entry.pod}, {entry.published_at}"
    finally:
        session.close()


def _find(session: Session, name: str) -> RemoteFile | None:
    return next((file for file in session.list_files() if file.key == name), None)


class _Ranges(io.RawIOBase):
    """An object as a stream, read in ranges that are each tried a few times."""

    def __init__(self, session: Session, file: RemoteFile) -> None:
        self._session = session
        self._file = file
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        length = min(len(buffer), self._file.size - self._offset, READ_BYTES)
        if length > 0:
            buffer[:length] = self._session.read(self._file, self._offset, length)
            self._offset += length
        return max(length, 0)
