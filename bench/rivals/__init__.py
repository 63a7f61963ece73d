"""The weights benchmark's parts: other downloaders, S3 servers to measure them against, and the measuring."""
