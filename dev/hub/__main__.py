"""`python -m dev.hub FOLDER [--host H] [--port N] [--cdn-port N]`: serve a folder's repositories until interrupted."""

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
    parser.add_argument(
        "--cdn-port", type=int, default=0, help="of the large files; 0: any free one"
    )
    options = parser.parse_args()
    repositories = load_repositories(options.folder)
    with HubServer(repositories, options.host, options.port, cdn_port=options.cdn_port) as server:
        print(f"serving {', '.join(sorted(server.repositories))} at {server.url}", flush=True)
        server.wait()


if __name__ == "__main__":
    main()
