"""The weights benchmark's parts: other downloaders, the S3 servers they are measured against, and how they are measured."""
