"""The harness's one exception: a sentence for a person, naming the object and what to do next."""


class HarnessError(Exception):
    """The cluster cannot be brought to the asked state; the message says what is missing."""
