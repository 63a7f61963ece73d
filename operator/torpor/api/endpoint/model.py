"""`spec.model`: which weights are served, from where, and under which names."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from torpor.api.endpoint.source import BucketPrefix, FetchedSource, Source
from torpor.api.words import Rule, Words, by_key, in_code, unique

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
]
ModelName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$"
    ),
]


class SecretRef(Words):
    """A Secret in the endpoint's own namespace."""

    name: ObjectName
    """Name of the Secret."""


class CaKind(StrEnum):
    """What holds the certificate authority."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"


class CaRef(Words):
    """A certificate authority in the endpoint's own namespace, in PEM form."""

    kind: CaKind = CaKind.CONFIG_MAP
    """ConfigMap or Secret."""
    name: ObjectName
    """Name of the ConfigMap or Secret."""
    key: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._A-Za-z0-9]+$")
    ] = "ca.crt"
    """Key that holds the PEM certificates."""


class S3(Words):
    """How to reach the bucket. Without it: AWS, with the identity of the pods that fetch weights."""

    rules = (
        Rule(
            "!(has(self.anonymous) && self.anonymous && has(self.secretRef))",
            "anonymous requests are not signed: remove secretRef or anonymous",
            field=".anonymous",
        ),
    )

    endpoint: (
        Annotated[
            str,
            StringConstraints(
                min_length=1, max_length=512, pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+/?$"
            ),
        ]
        | None
    ) = None
    """URL of the S3 server, such as https://s3.example.com:9000. Default: AWS in `region`."""
    region: Annotated[
        str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9-]+$")
    ] = Field(default="us-east-1", json_schema_extra=in_code())
    """Region that requests are signed for. Default: us-east-1."""
    path_style: bool | None = None
    """Address buckets as https://server/bucket instead of https://bucket.server. Default: true when
    `endpoint` is set, else false."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if need be, AWS_SESSION_TOKEN. Only the pods
    that fetch weights get it; torpor itself never reads it. Default: the identity of those pods (the service
    account that `spec.template` names, or the node's role)."""
    anonymous: bool | None = None
    """Do not sign requests: for public buckets. Default: false."""
    ca_ref: CaRef | None = None
    """Certificate authority that the server's certificate is checked against. Default: the system's."""

    @property
    def effective_path_style(self) -> bool:
        """Say whether buckets are addressed by path, default applied."""
        return self.endpoint is not None if self.path_style is None else self.path_style


class TokenRef(Words):
    """A key of a Secret in the endpoint's own namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._A-Za-z0-9]+$")
    ] = Field(default="token", json_schema_extra=in_code())
    """Key that holds the token. Default: token."""


class Hub(Words):
    """How to reach the Hugging Face Hub, and the bucket into which repositories are copied once."""

    mirror: BucketPrefix
    """Where copies are put, such as s3://models/hub/: each commit of each repository once, reached as `model.s3`
    says. Nodes fetch from there, never from the Hub."""
    endpoint: (
        Annotated[
            str,
            StringConstraints(
                min_length=1, max_length=512, pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+/?$"
            ),
        ]
        | None
    ) = None
    """URL of the Hub or of a mirror of it. Default: https://huggingface.co."""
    token_ref: TokenRef | None = None
    """Access token for gated and private repositories. Default: none."""


class Adapter(Words):
    """One LoRA adapter, served beside the model under a name of its own."""

    name: ModelName
    """What clients send as `model` to use the adapter."""
    source: FetchedSource
    """Where the adapter lies: s3://bucket/prefix/, reached as the model is, or hf://organisation/name@revision."""


class DraftMethod(StrEnum):
    """How the draft proposes tokens."""

    DRAFT_MODEL = "draftModel"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MTP = "mtp"


class Draft(Words):
    """Speculative decoding: a small model proposes tokens, the model checks them."""

    source: FetchedSource
    """Where the draft's weights lie: s3://bucket/prefix/, or hf://organisation/name@revision."""
    method: DraftMethod = Field(default=DraftMethod.DRAFT_MODEL, json_schema_extra=in_code())
    """How the draft proposes tokens: draftModel, eagle, eagle3 or mtp."""
    tokens: Annotated[int, Field(ge=1, le=32)] = Field(default=3, json_schema_extra=in_code())
    """Tokens proposed per step. Default: 3."""


class Model(Words):
    """The weights and the names they are served under."""

    rules = (
        Rule(
            "!has(self.s3) || !self.source.startsWith('pvc://')",
            "s3 may only be set with an s3:// or hf:// source",
            field=".s3",
        ),
        Rule(
            "has(self.hub) || !(self.source.startsWith('hf://')"
            " || (has(self.adapters) && self.adapters.exists(a, a.source.startsWith('hf://')))"
            " || (has(self.draft) && self.draft.source.startsWith('hf://')))",
            "an hf:// source needs hub.mirror: the bucket that repositories are copied into once",
            field=".hub",
        ),
        Rule(
            "!self.source.startsWith('pvc://') || !(has(self.adapters) || has(self.draft))",
            "adapters and draft need a model from s3:// or hf://",
            field=".source",
        ),
        Rule(
            "!has(self.adapters) || self.adapters.all(a, !(has(self.name) && a.name == self.name)"
            " && !(has(self.aliases) && a.name in self.aliases))",
            "adapters must not repeat the model's name or an alias",
            field=".adapters",
        ),
        Rule(
            "!has(self.name) || !has(self.aliases) || !(self.name in self.aliases)",
            "aliases must not repeat the model's name",
            field=".aliases",
        ),
    )

    source: Source
    """Where the checkpoint lies: s3://bucket/prefix/, hf://organisation/name@revision (copied once into the bucket
    that `hub.mirror` names), or pvc://claim/path (a claim of the endpoint's namespace that holds it already)."""
    s3: S3 = Field(default_factory=S3, json_schema_extra=in_code())
    """How to reach the bucket of an s3:// source, or of the mirror of an hf:// one."""
    hub: Hub | None = None
    """How to reach the Hugging Face Hub, and the bucket that hf:// sources are copied into."""
    name: ModelName | None = None
    """What clients send as `model`. Default: the endpoint's own name."""
    aliases: Annotated[
        tuple[ModelName, ...],
        Field(max_length=32, json_schema_extra=unique()),
    ] = ()
    """More names that clients may send as `model`; at most 32, each once."""
    adapters: tuple[Adapter, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=by_key("name"),
    )
    """LoRA adapters served beside the model, each under a name of its own."""
    quantization: (
        Annotated[
            str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$")
        ]
        | None
    ) = None
    """How the engine quantises weights, such as fp8. Default: what the checkpoint declares."""
    max_length: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    """Longest sequence in tokens, prompt and answer together. Default: what the checkpoint declares."""
    draft: Draft | None = None
    """Speculative decoding with a draft model."""


__all__ = ["S3", "Adapter", "CaRef", "Draft", "Hub", "Model", "SecretRef", "TokenRef"]
