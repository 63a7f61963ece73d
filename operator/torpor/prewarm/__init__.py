"""The stove: brings weights from a bucket to this node's cache, verified, and says in milliseconds that they are there.

A hit imports the standard library only; whatever costs time to import (botocore, awscrt) is imported by
`fetch` and below, never by `program`, `layout` or `report`.
"""
