"""OpenAI's own clients and those built on them, installed beside the project to try it with: see README.md."""

from dev.clients.place import Clients, ensure_clients
from dev.clients.talker import PYTHON_CLIENTS, Talker

__all__ = ["PYTHON_CLIENTS", "Clients", "Talker", "ensure_clients"]
