"""torpor installed by its own chart into a cluster, and what demo, tests and benchmarks do with it.

    from dev.cluster import Cluster
    from dev.install import install

    torpor = install(Cluster.up())
    torpor.make_namespace("team"); torpor.make_s3_secret("team")
    torpor.kube.apply(torpor.endpoint("tiny", "team", "s3://bucket/tiny/"))
    torpor.wait_for_condition("team", "tiny", "Ready")

Needs the project's .venv (botocore for the bucket); the cluster itself needs nothing.
"""

from .bucket import Bucket
from .chart import Images, definitions_exist, release_exists, uninstall
from .installed import Installed, bucket_of, install, kube_of
from .kube import Kube

__all__ = [
    "Bucket",
    "Images",
    "Installed",
    "Kube",
    "bucket_of",
    "definitions_exist",
    "install",
    "kube_of",
    "release_exists",
    "uninstall",
]
