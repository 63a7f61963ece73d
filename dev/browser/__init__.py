"""A real browser without a window, for tests of the controller's page and for its picture in the documents."""

from .chromium import ensure_chromium, find_chromium
from .driving import Browser, Tab

__all__ = ["Browser", "Tab", "ensure_chromium", "find_chromium"]
