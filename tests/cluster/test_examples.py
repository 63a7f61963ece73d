"""The first example, applied as it stands: what its README says happens."""

import subprocess
from pathlib import Path

import pytest
from openai import OpenAI

from dev.cluster import Cluster
from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-minimal"
SOURCE = "s3://models/tiny/"


def test_the_minimal_example_answers_as_it_stands(
    space: Space, cluster: Cluster, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, megabytes=2, seed="example")
    space.torpor.bucket.put(tmp_path, SOURCE)
    fingerprint = checksum_objects(dict(space.torpor.bucket.read(SOURCE)))
    words = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), "apply"]
    subprocess.run([*words, "-n", space.name, "-f", str(EXAMPLE)], check=True, timeout=60)
    ready = space.wait_condition("tiny", "Ready", timeout=20)
    assert ready.status.replicas == 0
    assert ready.status.cost.per_hour == "0"
    with OpenAI(base_url=space.torpor.url, api_key="none", max_retries=0, timeout=120) as client:
        answer = client.chat.completions.create(
            model=f"{space.name}/tiny", messages=[{"role": "user", "content": "hello"}]
        )
    assert answer.choices[0].message.content
    assert answer.system_fingerprint == fingerprint
