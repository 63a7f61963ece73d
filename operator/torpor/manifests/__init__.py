"""The blueprints: decisions turned into Kubernetes objects, as plain dictionaries."""
