"""`python -m dev.hub FOLDER [--port N] [--host H]`: serve the repositories of a folder until interrupted."""

import argparse
from pathlib import Path

from dev.hub.repositories import load_repositories
from dev.hub.server import HubServer


def main() -> None:
    """Read the folder once and serve it."""
    parser = argparse.ArgumentParser(prog="python -m dev.hub", description=__doc__)
    parser.add_argument("folder", type=Path, help="FOLDER/org/name/… are the repositories")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    options = parser.parse_args()
    with HubServer(load_repositories(options.folder), options.host, options.port) as server:
        print(f"serving {', '.join(sorted(server.repositories))} at {server.url}", flush=True)
        server.wait()


if __name__ == "__main__":
    main()
