from tests.cluster_room.serving import api, kube

__all__ = ["api", "kube"]
