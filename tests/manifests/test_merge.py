from __future__ import annotations

import copy
from typing import Any

import pytest

from torpor.manifests.merge import merge

BASE: dict[str, Any] = {
    "containers": [
        {"name": "engine", "args": ["a"], "env": [{"name": "X", "value": "1"}]},
        {"name": "other"},
    ],
    "tolerations": [{"key": "gpu"}],
    "volumeMounts": [{"name": "v", "mountPath": "/a"}],
    "nodeSelector": {"gpu": "l40s"},
    "hostNetwork": False,
}


@pytest.mark.parametrize(
    ("key", "patch", "becomes"),
    [
        pytest.param("hostNetwork", True, True, id="a value is replaced"),
        pytest.param("nodeSelector", {"zone": "a"}, {"gpu": "l40s", "zone": "a"}, id="maps merge"),
        pytest.param("nodeSelector", {"gpu": None}, {}, id="null removes"),
        pytest.param("tolerations", [{"key": "x"}], [{"key": "gpu"}, {"key": "x"}], id="added"),
        pytest.param("tolerations", [{"key": "gpu"}], [{"key": "gpu"}], id="added once"),
        pytest.param(
            "containers", [{"name": "engine", "args": ["b", "c"]}],
            [{"name": "engine", "args": ["b", "c"], "env": [{"name": "X", "value": "1"}]},
             {"name": "other"}],
            id="by name, a plain list replaced",
        ),
        pytest.param(
            "containers", [{"name": "engine", "env": [{"name": "Y", "value": "2"}]}],
            [{"name": "engine", "args": ["a"],
              "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
             {"name": "other"}],
            id="by name within a name",
        ),
        pytest.param(
            "containers", [{"name": "new"}], [*BASE["containers"], {"name": "new"}],
            id="a new name comes last",
        ),
        pytest.param(
            "volumeMounts", [{"name": "v", "mountPath": "/b"}],
            [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}],
            id="mounts by path: one volume twice",
        ),
        pytest.param(
            "volumeMounts", [{"name": "w", "mountPath": "/a"}], [{"name": "w", "mountPath": "/a"}],
            id="mounts by path: another volume there",
        ),
        pytest.param(
            "affinity", {"podAffinity": None, "nodeAffinity": {"a": 1}}, {"nodeAffinity": {"a": 1}},
            id="null within what was not there",
        ),
    ],
)  # fmt: skip
def test_a_template_is_merged_as_kubectl_would(key: str, patch: Any, becomes: Any) -> None:
    before = copy.deepcopy(BASE)
    assert merge(BASE, {key: patch}) == BASE | {key: becomes}
    assert before == BASE  # neither is changed


def test_null_removes_a_whole_part() -> None:
    assert "tolerations" not in merge(BASE, {"tolerations": None})
    assert merge(BASE, {}) == BASE
