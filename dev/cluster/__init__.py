"""A real Kubernetes cluster on this machine, for torpor's demo, tests and benchmarks.

`Cluster.up()` brings it up or finds it well; `python3 -m dev.cluster` does the same from a shell.
Standard library only, so that it runs before anything of the project is installed.
"""

from .cluster import S3, Cluster
from .errors import HarnessError

__all__ = ["S3", "Cluster", "HarnessError"]
