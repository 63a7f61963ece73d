"""The controller's page with endpoints that are made up, and a picture of it, without a cluster."""
