"""The hands: the only room that imports the Kubernetes client."""
