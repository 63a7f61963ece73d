"""What every client is given: where the objects are, and the keys to read them with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from dev.cluster.objectstore import REGION, Account


@dataclass(frozen=True)
class Target:
    """A prefix in a bucket of one S3 server."""

    server: str
    """The server's name, for people."""
    endpoint: str
    account: Account
    bucket: str = "models"
    prefix: str = "bench/"
    region: str = REGION

    @property
    def source(self) -> str:
        """The prefix as everybody writes it."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.endpoint.rsplit("/", 1)[-1].split(":")
        return host, int(port)

    def environment(self) -> dict[str, str]:
        """The variables that every AWS client knows; what this machine is configured for is kept out."""
        return {
            "AWS_ACCESS_KEY_ID": self.account.access_key,
            "AWS_SECRET_ACCESS_KEY": self.account.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def as_json(self) -> str:
        """The whole as text, for a process of our own."""
        return json.dumps(asdict(self))


def read_target(text: str) -> Target:
    """Read what `Target.as_json` wrote."""
    read = json.loads(text)
    return Target(**{**read, "account": Account(**read["account"])})
