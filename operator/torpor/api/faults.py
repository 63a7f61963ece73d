"""What a model refuses, in a sentence."""

from pydantic import ValidationError


def first_fault(error: ValidationError) -> str:
    """Return the first thing that is wrong: `spec.model.source: Field required`."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
