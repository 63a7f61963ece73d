"""The whole product on real parts, told as it happens: `make demo`."""
