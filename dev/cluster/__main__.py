"""python3 -m dev.cluster up | down | status | env | build | program | s3: the harness from a shell."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .cluster import Cluster
from .errors import HarnessError
from .images import RECIPES
from .programs import PROGRAMS
from .progress import say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up; seconds when it is well")
    down = commands.add_parser("down", help="leave nothing running")
    down.add_argument("--purge", action="store_true", help="forget images, S3 data, weights too")
    commands.add_parser("status", help="say of each part whether it is well")
    commands.add_parser("env", help='print export lines for a shell: eval "$(… env)"')
    build = commands.add_parser("build", help="build images whose content is new; print their tags")
    build.add_argument(
        "image", nargs="*", choices=[*RECIPES, []], help="default: all that are here"
    )
    program = commands.add_parser("program", help="build one program if missing; print its path")
    program.add_argument("name", choices=PROGRAMS)
    s3 = commands.add_parser("s3", help="move test data").add_subparsers(dest="verb", required=True)
    put = s3.add_parser("put", help="upload a folder")
    put.add_argument("folder", type=Path)
    put.add_argument("address", help="s3://bucket/prefix")
    for verb, told in (("ls", "list objects"), ("rm", "delete objects")):
        s3.add_parser(verb, help=told).add_argument("address", help="s3://bucket/prefix")
    return parser


def _status(cluster: Cluster) -> int:
    parts = cluster.status()
    for part, state in parts.items():
        print(f"{part:26s}{state}")
    return 0 if set(parts.values()) == {"ok"} else 1


def _s3(cluster: Cluster, asked: argparse.Namespace) -> None:
    if asked.verb == "put":
        sent = cluster.store.put(asked.folder, asked.address)
        say(f"{sent} bytes put at {asked.address}")
    elif asked.verb == "ls":
        for key, size in cluster.store.list(asked.address):
            print(f"{size:14d}  {key}")
    else:
        say(f"{cluster.store.remove(asked.address)} objects removed below {asked.address}")


def main() -> int:
    """Do what the arguments ask; 1 with one sentence if it cannot be done."""
    asked = _parser().parse_args()
    try:
        cluster = Cluster()
        if asked.command == "up":
            Cluster.up()
        elif asked.command == "down":
            cluster.down(purge=asked.purge)
        elif asked.command == "status":
            return _status(cluster)
        elif asked.command == "env":
            for name, value in cluster.env().items():
                print(f"export {name}={shlex.quote(value)}")
        elif asked.command == "build":
            for name in asked.image or cluster.buildable():
                print(cluster.image(name))
        elif asked.command == "program":
            print(cluster.program(asked.name))
        else:
            _s3(cluster, asked)
    except HarnessError as failed:
        say(f"failed: {failed}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `up` goes on from here, `down` cleans up")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
