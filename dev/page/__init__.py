"""The controller's page with endpoints that are made up, and a picture of it: what the page looks like, without a cluster."""
