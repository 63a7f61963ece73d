"""The harness' helm, and what it makes of the chart without any value."""

import pytest

from dev.cluster.places import places
from dev.cluster.programs import ensure_program
from tests.charts.rendering import Helm, Rendered


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The helm that the harness installs torpor with; built on first use, which takes minutes."""
    return Helm(ensure_program(places(), "helm"))


@pytest.fixture(scope="session")
def installed(helm: Helm) -> Rendered:
    """What `helm install` without any value creates."""
    return helm.render()
