"""What a model refuses, in a sentence."""

from pydantic import ValidationError


def first_fault(error: ValidationError) -> str:
    """Return the first thing that is wrong, such as `spec.scaling.schedules[0].cron: is never due`."""
    first = error.errors()[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return f"{where.lstrip('.')}: {first['msg'].removeprefix('Value error, ')}"
