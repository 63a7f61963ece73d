"""What `bench.gateway` and `bench.herd` measure with: a gateway as a process, upstreams, loads."""
