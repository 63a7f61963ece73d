"""Why: every reason that a condition, an Event or a refused request can carry."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A CamelCase word, its meaning for people, and what a request that meets it is answered.

    `http_status` is what the gateway answers to a request that cannot be served for this reason, and `retryable` says
    whether the same request may succeed later without anybody changing the endpoint. `code` is the code of the error
    object: the word itself, or OpenAI's where it has one that clients know. Groups follow the
    condition that carries the reason; within a group members are in alphabetical order.
    """

    _value_: str
    group: str
    meaning: str
    http_status: int
    retryable: bool
    code: str

    def __new__(
        cls,
        value: str,
        group: str,
        meaning: str,
        http_status: int = 503,
        retryable: bool = True,
        code: str = "",
    ) -> Self:
        """Keep the word as the value, so that members are plain strings everywhere."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.group = group
        member.meaning = meaning
        member.http_status = http_status
        member.retryable = retryable
        member.code = code or value
        return member

    @classmethod
    def of(cls, word: str) -> "Reason":
        """Give the member for a word read from a status; `Unknown` for one of a newer torpor."""
        return next((member for member in cls if member.value == word), cls.UNKNOWN)

    # fmt: off

    # Awake: the STATE column.
    CHECKING_WEIGHTS = ("CheckingWeights", "Awake",
        "Credentials and the listing of the weights are being checked, on a CPU.", 200)
    DRAINING = ("Draining", "Awake",
        "Replicas finish their last requests before they go to sleep.", 200)
    FAILED = ("Failed", "Awake",
        "The endpoint cannot wake; the reason and message of Ready say why.", 200)
    IDLE = ("Idle", "Awake",
        "Asleep: no replica, no cost. The next request wakes it.", 200)
    KEEPING_WARM = ("KeepingWarm", "Awake",
        "Replicas are ready, nobody asks, and the keep-alive time is running.", 200)
    PENDING = ("Pending", "Awake",
        "A replica was asked for and no node has room for it yet.", 200)
    SERVING = ("Serving", "Awake",
        "At least one replica is ready and requests are in flight.", 200)
    SUSPENDED = ("Suspended", "Awake",
        "scaling.suspend is set: replicas are put to sleep and none is woken. Also the reason of Ready.", 503, False)
    WARMING_UP = ("WarmingUp", "Awake",
        "A replica has a node and is getting weights, loading them or starting.", 200)

    # Ready: will a request be answered?
    CAN_ANSWER = ("CanAnswer", "Ready",
        "A request will be answered: a replica is ready, or one can be woken.", 200)
    DEPLOYMENT_REFUSED = ("DeploymentRefused", "Ready",
        "The API server refused the Deployment, most often for something in spec.template.", 503, False)
    ENGINE_CRASHED = ("EngineCrashed", "Ready",
        "The engine ended before it was ready; its last words are in the message.")
    ENGINE_OUT_OF_MEMORY = ("EngineOutOfMemory", "Ready",
        "The engine ran out of GPU or main memory before it was ready.", 503, False)
    IMAGE_PULL_FAILED = ("ImagePullFailed", "Ready",
        "The engine's image cannot be pulled: it does not exist, or the node may not read it.")
    INVALID_SPEC = ("InvalidSpec", "Ready",
        "The stored spec cannot be read by this version of torpor.", 503, False)
    NAME_CONFLICT = ("NameConflict", "Ready",
        "An object with the endpoint's name exists and belongs to somebody else.", 503, False)
    UNKNOWN = ("Unknown", "Ready",
        "A reason that this version of torpor does not know.")

    # Placed: is there a GPU class for it?
    DOES_NOT_FIT = ("DoesNotFit", "Placed",
        "The model needs more GPU memory than any allowed class has; the message has both numbers.", 503, False)
    GPU_CLASS_NOT_FOUND = ("GPUClassNotFound", "Placed",
        "spec.placement.classes names a GPU class that does not exist.", 503, False)
    NO_MATCHING_GPU = ("NoMatchingGPU", "Placed",
        "No GPU class satisfies residency, capacity type, price and size together.", 503, False)
    NO_NODES = ("NoNodes", "Placed",
        "GPU classes match, but no node of the cluster belongs to one of them.")
    PLACED_ON_CLASS = ("PlacedOnClass", "Placed",
        "A GPU class with nodes was chosen.", 200)
    PRICE_UNKNOWN = ("PriceUnknown", "Placed",
        "No price is known for the GPU class, or for a node: the endpoint runs, and its cost figures stay empty.", 200)
    UNSCHEDULABLE = ("Unschedulable", "Placed",
        "The scheduler finds no node with room for a replica.")

    # WeightsReady: are the weights where they are needed?
    WEIGHTS_ACCESS_DENIED = ("WeightsAccessDenied", "WeightsReady",
        "The S3 server refused the credentials: wrong key, wrong signature, or no permission.", 503, False)
    WEIGHTS_BUCKET_NOT_FOUND = ("WeightsBucketNotFound", "WeightsReady",
        "The bucket does not exist.", 503, False)
    WEIGHTS_CACHE_FULL = ("WeightsCacheFull", "WeightsReady",
        "A node's cache is full of weights that run, are pinned or were used more recently; an engine that wakes there"
        " makes room.")
    WEIGHTS_CHANGED = ("WeightsChanged", "WeightsReady",
        "What lies in the bucket is no longer what was listed; it is listed again.")
    WEIGHTS_CORRUPT = ("WeightsCorrupt", "WeightsReady",
        "A file is cut off, has another checksum than the bucket says, or is no valid safetensors file.", 503, False)
    WEIGHTS_EMPTY = ("WeightsEmpty", "WeightsReady",
        "Nothing lies under the prefix.", 503, False)
    WEIGHTS_FETCHING = ("WeightsFetching", "WeightsReady",
        "Nodes are downloading; the message has percent, rate and time left.")
    WEIGHTS_GATED = ("WeightsGated", "WeightsReady",
        "The Hugging Face repository asks for a licence to be accepted, or for a token that may read it.", 503, False)
    WEIGHTS_INTERNAL = ("WeightsInternal", "WeightsReady",
        "The download failed for a reason that torpor does not know; the message has the error.")
    WEIGHTS_IN_CLAIM = ("WeightsInClaim", "WeightsReady",
        "The claim holds the weights, verified.", 200)
    WEIGHTS_LISTED = ("WeightsListed", "WeightsReady",
        "Credentials and listing are good; no node has been asked to keep the weights.", 200)
    WEIGHTS_NOT_A_CHECKPOINT = ("WeightsNotACheckpoint", "WeightsReady",
        "There is no config.json, or no file with weights, under the prefix.", 503, False)
    WEIGHTS_ON_NODES = ("WeightsOnNodes", "WeightsReady",
        "Every chosen node has the weights, verified.", 200)
    WEIGHTS_SECRET_NOT_FOUND = ("WeightsSecretNotFound", "WeightsReady",
        "The Secret or ConfigMap that the spec names for the bucket does not exist.", 503, False)
    WEIGHTS_TLS_UNTRUSTED = ("WeightsTLSUntrusted", "WeightsReady",
        "The S3 server's certificate is not signed by a trusted authority.", 503, False)
    WEIGHTS_TOO_LARGE = ("WeightsTooLarge", "WeightsReady",
        "The weights exceed the cache's budget or the node's disk; the message has both numbers.", 503, False)
    WEIGHTS_UNREACHABLE = ("WeightsUnreachable", "WeightsReady",
        "The S3 server does not answer.")
    WEIGHTS_WRONG_REGION = ("WeightsWrongRegion", "WeightsReady",
        "The bucket lies in another region than spec.model.s3.region.", 503, False)

    # WithinBudget: may it still cost something this month?
    BUDGET_HALF_SPENT = ("BudgetHalfSpent", "WithinBudget",
        "Half of the month's budget is spent, or more.", 200)
    BUDGET_NEARLY_SPENT = ("BudgetNearlySpent", "WithinBudget",
        "80 % of the month's budget are spent, or more.", 200)
    OVER_BUDGET = ("OverBudget", "WithinBudget",
        "The month's budget is spent. With cost.budget.action refuseWake what runs goes to sleep once it is idle, and"
        " nothing is woken before the next month; then it is also the reason of Ready and Awake.",
        429, True, "insufficient_quota")
    WITHIN_BUDGET = ("WithinBudget", "WithinBudget",
        "Less than half of the month's budget is spent.", 200)

    # CheaperThanOffer: here, or by the token elsewhere?
    CHEAPER_HERE = ("CheaperHere", "CheaperThanOffer",
        "The last day's tokens cost less here than at the offer of cost.compareWith.", 200)
    NOTHING_TO_COMPARE = ("NothingToCompare", "CheaperThanOffer",
        "Nothing was spent and nothing asked for in the last day.", 200)
    OFFER_CHEAPER = ("OfferCheaper", "CheaperThanOffer",
        "The offer of cost.compareWith would have cost less for the last day's tokens.", 200)

    # Reconciling and Stalled: present only while true.
    PROGRESSING = ("Progressing", "Reconciling",
        "The cluster is being brought to what the spec says.")
    WAITING_FOR_CHANGE = ("WaitingForChange", "Stalled",
        "Nothing happens until the spec, or what it names, changes; Ready says what is wrong.", 503, False)
    # fmt: on
