"""What a pod needs to run the real engine: environment, arguments, mounts, and a whole endpoint."""

from typing import Any

from .layout import Layout, find_layout

PACKAGES = "/opt/vllm/packages"
"""Where the pod sees the installed packages (the image's PYTHONPATH)."""

WARM = "/opt/vllm/warm"
"""Where the pod sees the caches of earlier starts."""

ARGUMENTS = ("--enforce-eager", "--max-model-len", "1024")
"""Without compilation: no compiler in the image, and a start that takes half the time."""


def environment(warm: str) -> dict[str, str]:
    """Variables that the CPU build needs, with its caches at `warm`."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_WORKER_MULTIPROC_METHOD": "fork",
        "VLLM_CACHE_ROOT": warm,
        "XDG_CACHE_HOME": f"{warm}/xdg",
        "TORCHINDUCTOR_CACHE_DIR": f"{warm}/inductor",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HOME": "/tmp",
        "USER": "vllm",
    }


def template(layout: Layout) -> dict[str, Any]:
    """The `spec.template` fragment: the environment of this machine, mounted where the image looks."""

    def folder(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "hostPath": {"path": path, "type": "Directory"}}

    mounts = [
        {"name": "vllm-packages", "mountPath": PACKAGES, "readOnly": True},
        {"name": "vllm-warm", "mountPath": WARM},
    ]
    volumes = [
        folder("vllm-packages", str(layout.packages)),
        folder("vllm-warm", str(layout.warm)),
    ]
    return {
        "spec": {"containers": [{"name": "engine", "volumeMounts": mounts}], "volumes": volumes}
    }


def endpoint(
    *,
    name: str,
    namespace: str,
    image: str,
    source: str,
    s3: dict[str, Any],
    layout: Layout | None = None,
) -> dict[str, Any]:
    """An InferenceEndpoint that serves the tiny Llama with real vLLM.

    `source` is where the checkpoint was uploaded (s3://bucket/prefix/), `s3` the endpoint's own
    `spec.model.s3`. Further fields (keep-alive, classes) are the caller's to add.
    """
    layout = layout or find_layout()
    variables = [{"name": key, "value": value} for key, value in environment(WARM).items()]
    maximum = ARGUMENTS.index("--max-model-len")
    others = [*ARGUMENTS[:maximum], *ARGUMENTS[maximum + 2 :]]
    return {
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"source": source, "s3": s3, "maxLength": int(ARGUMENTS[maximum + 1])},
            "engine": {"kind": "vllm", "image": image, "args": others, "env": variables},
            "template": template(layout),
        },
    }
