"""Good and bad GPU classes for `test_words`, in the form of `words_table`."""

from tests.cluster.words_table import Changes

_PRICE = {"perGPUHour": "1.861"}


def _changes(*rows: dict[str, str]) -> Changes:
    return {"price": _PRICE | {"changes": list(rows)}}


GOOD_CLASSES: dict[str, Changes] = {
    "only what is needed": {},
    "free": {"price.perGPUHour": "0", "capacityType": "owned"},
    "of whole nodes": {"price": _PRICE | {"scope": "node", "minimumSeconds": 60}},
    "a seventh": {"resourceName": "nvidia.com/mig-1g.10gb", "fraction": "1/7"},
    "a whole in parts": {"fraction": "64/64"},
    "in full": {
        "resourceName": "amd.com/gpu",
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "provider": "aws",
        "region": "us-east-1",
        "zone": "us-east-1a",
        "jurisdiction": "US",
        "capacityType": "spot",
        "price": _PRICE
        | {
            "currency": "EUR",
            "source": "price list",
            "asOf": "2026-07-20",
            "effectiveFrom": "2026-07-01",
            "granularitySeconds": 1,
            "minimumSeconds": 60,
            "egressPerGiB": "0.09",
            "changes": [
                {"effectiveFrom": "2027-01-01", "perGPUHour": "1.9", "asOf": "2026-11-20"},
                {"effectiveFrom": "2027-01-01T06:00:00Z", "perGPUHour": "0", "source": "a gift"},
            ],
        },
    },
}

BAD_CLASSES: dict[str, tuple[Changes, str]] = {
    "no memory": ({"memory": None}, "spec.memory: Required value"),
    "memory of nothing": ({"memory": "0"}, "must be greater than 0"),
    "resource without domain": ({"resourceName": "gpu"}, "spec.resourceName: Invalid value"),
    "node without GPU": ({"gpusPerNode": 0}, "should be greater than or equal to 1"),
    "more than a whole": ({"fraction": "8/7"}, "8/7 is more than a whole"),
    "too many parts": ({"fraction": "1/65"}, "spec.fraction: Invalid value"),
    "part as a decimal": ({"fraction": "0.5"}, "spec.fraction: Invalid value"),
    "price in words": ({"price.perGPUHour": "abc"}, "spec.price.perGPUHour: Invalid value"),
    "negative price": ({"price.perGPUHour": "-1"}, "spec.price.perGPUHour: Invalid value"),
    "price as a number": ({"price.perGPUHour": 1.861}, "must be of type string"),
    "price without amount": ({"price": {"currency": "EUR"}}, "spec.price.perGPUHour: Required"),
    "currency in words": ({"price": _PRICE | {"currency": "euro"}}, "price.currency: "),
    "day in words": ({"price": _PRICE | {"asOf": "last July"}}, "price.asOf: "),
    "no such country": ({"jurisdiction": "UK"}, "'UK' is not an ISO 3166-1 alpha-2 country code"),
    "toleration of nothing": (
        {"tolerations": [{"effect": "NoExecute"}]},
        "operator must be Exists",
    ),
    "toleration of a value": (
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        "value must not be set with operator Exists",
    ),
    "scope of a rack": (
        {"price": _PRICE | {"scope": "rack"}},
        "spec.price.scope: Unsupported value",
    ),
    "steps of nothing": ({"price": _PRICE | {"granularitySeconds": 0}}, "granularitySeconds: "),
    "steps of two days": (
        {"price": _PRICE | {"granularitySeconds": 172_800}},
        "granularitySeconds: ",
    ),
    "a bill below nothing": ({"price": _PRICE | {"minimumSeconds": -1}}, "minimumSeconds: "),
    "a price from a month that is none": (
        {"price": _PRICE | {"effectiveFrom": "2027-13-01"}},
        "spec.price.effectiveFrom: Invalid value",
    ),
    "a price from a time without its zone": (
        {"price": _PRICE | {"effectiveFrom": "2027-01-01T06:00:00"}},
        "spec.price.effectiveFrom: Invalid value",
    ),
    "a change without a price": (_changes({"effectiveFrom": "2027-01-01"}), "perGPUHour: Required"),
    "a change without a date": (_changes({"perGPUHour": "2"}), "effectiveFrom: Required"),
    "a change to words": (
        _changes({"effectiveFrom": "2027-01-01", "perGPUHour": "abc"}),
        "spec.price.changes[0].perGPUHour: Invalid value",
    ),
    "two changes on one day": (
        _changes(*({"effectiveFrom": "2027-01-01", "perGPUHour": price} for price in "23")),
        "Duplicate value",
    ),
    "a day written as its first second": (
        _changes({"effectiveFrom": "2027-01-01T00:00:00Z", "perGPUHour": "2"}),
        "write the day alone: 2027-01-01",
    ),
    "a change before the price holds": (
        {
            "price": _PRICE
            | {
                "effectiveFrom": "2027-02-01",
                "changes": [{"effectiveFrom": "2027-01-01", "perGPUHour": "2"}],
            }
        },
        "each of changes must begin after effectiveFrom",
    ),
    "egress in words": (
        {"price": _PRICE | {"egressPerGiB": "some"}},
        "spec.price.egressPerGiB: Invalid value",
    ),
}
