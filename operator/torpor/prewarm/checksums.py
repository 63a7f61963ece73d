"""CRC64NVME, CRC32C and CRC32 at the speed of memory: awscrt's, without the wait for its import.

Importing awscrt sets up everything it can do, TLS with its sources of entropy included, which takes 60 to 80 ms of
CPU time: more than the whole rest of what a download imports (measured). The functions themselves need none of it, and
its library exports them, so they are called there; they let go of the interpreter while they compute. A build of awscrt
that exports them no more is imported as usual.
"""

import ctypes
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Exported = Callable[[None, tuple[Any, ...]], int]


class Algorithm(NamedTuple):
    """One checksum of which the parts' values give the whole's."""

    compute: Callable[[Any, int], int]
    """(any buffer, value of what comes before it, 0 for nothing) → value of both."""
    combine: Callable[[int, int, int], int]
    """(value of what comes first, value of what follows, bytes of that) → value of both."""
    size: int
    """Bytes of a value."""


_SIZES = {"crc64nvme": 8, "crc32c": 4, "crc32": 4}


def load_exported() -> dict[str, Algorithm]:
    """Return the algorithms without importing awscrt.

    Raises:
        OSError: there is no such library.
        AttributeError: it does not export them.
    """
    found = importlib.util.find_spec("_awscrt")
    if found is None or found.origin is None:
        raise OSError("awscrt has no library of its own")
    library = ctypes.PyDLL(found.origin)
    return {name: _exported(library, name, size) for name, size in _SIZES.items()}


def load_imported() -> dict[str, Algorithm]:
    """Return the same from awscrt as its users import it."""
    from awscrt import checksums

    return {
        "crc64nvme": Algorithm(checksums.crc64nvme, checksums.combine_crc64nvme, 8),
        "crc32c": Algorithm(checksums.crc32c, checksums.combine_crc32c, 4),
        "crc32": Algorithm(checksums.crc32, checksums.combine_crc32, 4),
    }


def _exported(library: ctypes.PyDLL, name: str, size: int) -> Algorithm:
    compute = _function(library, f"aws_py_checksums_{name}")
    combine = _function(library, f"aws_py_checksums_{name}_combine")

    def of(data: Any, before: int) -> int:
        return compute(None, (data, before))

    def of_both(first: int, second: int, length: int) -> int:
        return combine(None, (first, second, length))

    return Algorithm(of, of_both, size)


def _function(library: ctypes.PyDLL, name: str) -> Exported:
    """A Python function of the library: it takes its module, which it does not look at, and a tuple."""
    found = library[name]
    found.restype = ctypes.py_object
    found.argtypes = [ctypes.py_object, ctypes.py_object]
    return found


def _load() -> dict[str, Algorithm]:
    try:
        return load_exported()
    except (OSError, AttributeError):
        return load_imported()


ALGORITHMS: Mapping[str, Algorithm] = _load()
