"""An S3 server as its users see it: put a checkpoint there, read it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dev.cluster import HarnessError
from dev.cluster.s3 import parse_address


@dataclass(frozen=True)
class Bucket:
    """Where weights are put: an S3 server and the keys of whoever may write there."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str

    def put(self, folder: Path, address: str) -> int:
        """Upload every file below `folder` under s3://bucket/prefix; returns the bytes sent.

        Raises:
            HarnessError: the server refused, or cannot be reached.
        """
        bucket, prefix = parse_address(address)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        client = self._client()
        self._make(client, bucket)
        for path in files:
            key = prefix + path.relative_to(folder).as_posix()
            with path.open("rb") as body:
                self._ask(f"upload of {key}", client.put_object, Bucket=bucket, Key=key, Body=body)
        return sum(path.stat().st_size for path in files)

    def read(self, address: str) -> Iterator[tuple[str, bytes]]:
        """Yield (key below the prefix, content) of every object, in order of key."""
        bucket, prefix = parse_address(address)
        client = self._client()
        for key in sorted(self._keys(client, bucket, prefix)):
            found = self._ask(f"download of {key}", client.get_object, Bucket=bucket, Key=key)
            yield key.removeprefix(prefix), found["Body"].read()

    def remove(self, address: str) -> int:
        """Delete every object below the address; returns how many."""
        bucket, prefix = parse_address(address)
        client = self._client()
        keys = list(self._keys(client, bucket, prefix))
        for key in keys:
            self._ask(f"deletion of {key}", client.delete_object, Bucket=bucket, Key=key)
        return len(keys)

    def _client(self) -> Any:
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3})
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        )

    def _make(self, client: Any, bucket: str) -> None:
        """Make the bucket unless it is there; on AWS it has to be there, where names are everybody's."""
        try:
            client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError):
            self._ask(f"creation of bucket {bucket}", client.create_bucket, Bucket=bucket)

    def _keys(self, client: Any, bucket: str, prefix: str) -> Iterator[str]:
        asked = {"Bucket": bucket, "Prefix": prefix}
        while True:
            page = self._ask(f"listing of s3://{bucket}/{prefix}", client.list_objects_v2, **asked)
            yield from (entry["Key"] for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _ask(self, what: str, action: Any, **arguments: Any) -> Any:
        try:
            return action(**arguments)
        except (BotoCoreError, ClientError) as failed:
            raise HarnessError(f"{what} at {self.endpoint} failed: {failed}") from failed
