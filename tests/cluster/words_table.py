"""Good and bad objects for `test_words`: what is changed in a good one, and what the API server must say.

A path such as `scaling.maxReplicas` is set below `spec`; one that begins with `metadata.` below the object.
"""

from typing import Any

Changes = dict[str, Any]

_SHA = "0123456789abcdef" * 4
_CRON = {"cron": "0 8 * * 1-5", "duration": "10h", "minReplicas": 1}
_DRAFT = {"source": "s3://models/draft/"}
_HUB = {"mirror": "s3://models/hub/"}
_LORA = {"name": "legal", "source": "s3://models/legal/"}
_OFFER = {"name": "hosted", "inputPerMillion": "0.15", "outputPerMillion": "0.60"}

GOOD: dict[str, Changes] = {
    "nothing but a source": {},
    "a budget": {"cost": {"budget": {"monthly": "500"}}},
    "a budget that holds, and an offer": {
        "cost": {"budget": {"monthly": "0.5", "action": "refuseWake"}, "compareWith": _OFFER}
    },
    "source without its last slash": {"model.source": "s3://models/llama"},
    "deep prefix with dots": {"model.source": "s3://my.bucket/a/b.c/v1.0/"},
    "own S3 server": {
        "model.s3": {
            "endpoint": "https://s3.example.com:9000",
            "region": "eu-central-1",
            "pathStyle": True,
            "secretRef": {"name": "s3"},
            "caRef": {"name": "ca"},
        }
    },
    "S3 server by IPv6": {"model.s3.endpoint": "http://[fd00::1]:7070"},
    "Hugging Face like name": {"model.name": "meta-llama/Llama-3.1-8B"},
    "aliases": {"model.aliases": ["gpt-4o", "default"]},
    "eight bits": {"model.quantization": "fp8", "model.maxLength": 8192},
    "public bucket": {"model.s3": {"anonymous": True, "region": "eu-west-1"}},
    "Hugging Face": {
        "model.source": "hf://org/name@main",
        "model.hub": {**_HUB, "endpoint": "https://hub.example.com", "tokenRef": {"name": "hf"}},
        "model.s3": {"secretRef": {"name": "s3"}},
    },
    "claim": {"model.source": "pvc://claim/path/below"},
    "claim's root": {"model.source": "pvc://claim"},
    "adapters": {"model.adapters": [_LORA, {"name": "medical", "source": "s3://models/med/"}]},
    "adapter from the Hub": {
        "model.adapters": [{"name": "legal", "source": "hf://org/legal"}],
        "model.hub": _HUB,
    },
    "draft": {"model.draft": {**_DRAFT, "method": "eagle3", "tokens": 5}},
    "pinned": {"prewarm": {"pin": True, "image": False, "compileCache": "s3"}},
    "nothing compiled is kept": {"prewarm.compileCache": "none"},
    "cache in a claim": {"prewarm.cache": {"kind": "pvc", "claim": "weights"}},
    "cache in the pod": {"prewarm.cache": {"kind": "ephemeral", "budget": "80Gi"}},
    "engine of its own": {
        "engine": {
            "image": "registry.example.com/vllm@sha256:" + _SHA,
            "args": ["--enable-prefix-caching", "--gpu-memory-utilization=0.9", "--port-range"],
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
        }
    },
    "placement in full": {
        "placement": {
            "classes": ["l40s", "h100"],
            "ordered": True,
            "gpus": 2,
            "residency": {"jurisdictions": ["EU", "EEA", "CH"], "regions": ["eu-central-1"]},
            "capacityTypes": ["on-demand", "spot", "reserved", "owned"],
            "maxPricePerHour": "4.00",
        }
    },
    "as many GPUs as it needs": {"placement.gpus": "auto"},
    "one kept warm": {"scaling": {"minReplicas": 1, "maxReplicas": 3}},
    "suspended although one is kept": {"scaling": {"minReplicas": 1, "suspend": True}},
    "fixed keep-alive": {"scaling.keepAlive": {"policy": "fixed", "after": "1h30m"}},
    "after means fixed": {"scaling.keepAlive.after": "15s"},
    "immediate roll-out": {"scaling.rollout": "immediate"},
    "two nodes": {"prewarm.nodes": 2},
    "no node": {"prewarm.nodes": "none"},
    "cache budget": {"prewarm.cache.budget": "1.5Ti"},
    "keys": {"access.keys": [{"name": "shop", "sha256": _SHA}]},
    "direct": {"access.direct": True},
    "keys, and not direct": {
        "access": {"direct": False, "keys": [{"name": "shop", "sha256": _SHA}]}
    },
    "longest queue": {"queue": {"maxWait": "24h", "maxRequests": 1, "maxBytes": "1Ki"}},
    "template": {
        "template": {
            "metadata": {"labels": {"team": "search"}},
            "spec": {"tolerations": [{"operator": "Exists"}]},
        }
    },
    "name of 63": {"metadata.name": "a" * 63},
}

BAD: dict[str, tuple[Changes, str]] = {
    "no source": ({"model": {}}, "spec.model.source: Required value"),
    "no scheme": (
        {"model.source": "models/x"},
        "'models/x' must begin with s3://, hf:// or pvc://",
    ),
    "bucket alone": ({"model.source": "s3://models"}, "an s3 source needs a bucket and a prefix"),
    "bucket and slash": (
        {"model.source": "s3://models/"},
        "an s3 source needs a bucket and a prefix",
    ),
    "prefix alone": ({"model.source": "s3:///x/"}, "an s3 source needs a bucket and a prefix"),
    "empty part": ({"model.source": "s3://models/a//b/"}, "a prefix without empty parts"),
    "parent folder": ({"model.source": "s3://models/a/../b"}, "must not contain the parts . or .."),
    "capital bucket": ({"model.source": "s3://Models/a"}, "an s3 source needs a bucket"),
    "malformed hub name": ({"model.source": "hf://llama"}, "hf://organisation/name"),
    "malformed claim": ({"model.source": "pvc://"}, "a claim source is pvc://claim/path"),
    "s3 for a claim": (
        {"model.source": "pvc://c/x", "model.s3": {"region": "x"}},
        "s3 may only be set with an s3:// or hf:// source",
    ),
    "claim and parent": ({"model.source": "pvc://c/../x"}, "must not contain the parts . or .."),
    "Hugging Face without a mirror": (
        {"model.source": "hf://org/name"},
        "an hf:// source needs hub.mirror",
    ),
    "mirror that is no bucket": (
        {"model.source": "hf://org/name", "model.hub": {"mirror": "pvc://c/x"}},
        "must begin with s3://",
    ),
    "adapter in a claim": (
        {"model.adapters": [{"name": "legal", "source": "pvc://c/x"}]},
        "must begin with s3:// or hf://",
    ),
    "adapter beside a claim": (
        {"model.source": "pvc://c/x", "model.adapters": [_LORA]},
        "adapters and draft need a model from s3:// or hf://",
    ),
    "adapter named as the model": (
        {"model.name": "legal", "model.adapters": [_LORA]},
        "adapters must not repeat the model's name or an alias",
    ),
    "adapter twice": (
        {"model.adapters": [_LORA, _LORA]},
        "spec.model.adapters[1]: Duplicate value",
    ),
    "anonymous with a key": (
        {"model.s3": {"anonymous": True, "secretRef": {"name": "s3"}}},
        "anonymous requests are not signed: remove secretRef or anonymous",
    ),
    "cache without its claim": (
        {"prewarm.cache": {"kind": "pvc"}},
        "claim names the PersistentVolumeClaim of kind pvc",
    ),
    "claim without its kind": (
        {"prewarm.cache": {"claim": "weights"}},
        "claim names the PersistentVolumeClaim of kind pvc",
    ),
    "compile cache as a flag": ({"prewarm.compileCache": True}, "compileCache: Invalid value"),
    "compile cache elsewhere": ({"prewarm.compileCache": "disk"}, 'Unsupported value: "disk"'),
    "endpoint without scheme": (
        {"model.s3.endpoint": "s3.example.com"},
        "spec.model.s3.endpoint: Invalid value",
    ),
    "alias repeats the name": (
        {"model.name": "a", "model.aliases": ["b", "a"]},
        "aliases must not repeat the model's name",
    ),
    "alias repeats the object's name": (
        {"model.aliases": ["words"]},
        "spec.model.aliases must not repeat the endpoint's name",
    ),
    "alias twice": ({"model.aliases": ["b", "b"]}, 'spec.model.aliases[1]: Duplicate value: "b"'),
    "empty model name": ({"model.name": ""}, "spec.model.name: Invalid value"),
    "length of nothing": ({"model.maxLength": 0}, "should be greater than or equal to 1"),
    "reserved variable": (
        {"engine.env": [{"name": "TORPOR_SOURCE", "value": "x"}]},
        "names that begin with TORPOR_ are reserved",
    ),
    "variable twice": (
        {"engine.env": [{"name": "A"}, {"name": "A"}]},
        "spec.engine.env[1]: Duplicate value",
    ),
    "value and its source": (
        {
            "engine.env": [
                {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}
            ]
        },
        "only one of value and valueFrom may be set",
    ),
    "value from nowhere": (
        {"engine.env": [{"name": "A", "valueFrom": {}}]},
        "exactly one of secretKeyRef, configMapKeyRef and fieldRef must be set",
    ),
    "port": ({"engine.args": ["--port=9"]}, "are set by torpor"),
    "served name": ({"engine.args": ["--served_model_name", "x"]}, "are set by torpor"),
    "certificate": ({"engine.args": ["--ssl-keyfile", "x"]}, "are set by torpor"),
    "length as argument": (
        {"engine.args": ["--max-model-len", "1"]},
        "set model.maxLength instead of --max-model-len",
    ),
    "GPUs as argument": (
        {"engine.args": ["-tp=2"]},
        "set placement.gpus instead of --tensor-parallel-size",
    ),
    "quantisation as argument": (
        {"engine.args": ["--quantization=fp8"]},
        "set model.quantization instead of --quantization",
    ),
    "unknown engine": ({"engine.kind": "ollama"}, 'Unsupported value: "ollama"'),
    "order of nothing": ({"placement.ordered": True}, "ordered needs classes"),
    "no GPU": ({"placement.gpus": 0}, "must be auto or a number of GPUs from 1 to 16"),
    "word for GPUs": ({"placement.gpus": "two"}, "must be auto or a number of GPUs from 1 to 16"),
    "GPUs as a quoted number": ({"placement.gpus": "2"}, "must be auto or a number of GPUs"),
    "class twice": ({"placement.classes": ["a", "a"]}, "placement.classes[1]: Duplicate value"),
    "empty residency": (
        {"placement.residency": {}},
        "residency needs jurisdictions, regions or both",
    ),
    "not a country": (
        {"placement.residency.jurisdictions": ["UK"]},
        "'UK' is not an ISO 3166-1 alpha-2 country code such as DE, nor EU or EEA",
    ),
    "country in small letters": (
        {"placement.residency.jurisdictions": ["de"]},
        "'de' is not an ISO 3166-1 alpha-2 country code",
    ),
    "unknown capacity": ({"placement.capacityTypes": ["free"]}, 'Unsupported value: "free"'),
    "price of nothing": ({"placement.maxPricePerHour": "0.00"}, "must be greater than 0"),
    "price as a number": ({"placement.maxPricePerHour": 4}, "must be of type string"),
    "negative price": ({"placement.maxPricePerHour": "-1"}, "maxPricePerHour: Invalid value"),
    "min above max": (
        {"scaling": {"minReplicas": 4, "maxReplicas": 3}},
        "minReplicas must not be greater than maxReplicas",
    ),
    "min above the default max": (
        {"scaling.minReplicas": 2},
        "minReplicas must not be greater than maxReplicas",
    ),
    "no replica at all": ({"scaling.maxReplicas": 0}, "should be greater than or equal to 1"),
    "nothing in flight": ({"scaling.inFlightPerReplica": 0}, "greater than or equal to 1"),
    "duration without unit": ({"scaling.keepAlive.after": "120"}, "keepAlive.after: Invalid value"),
    "duration of days": ({"scaling.keepAlive.after": "2d"}, "keepAlive.after: Invalid value"),
    "empty duration": ({"scaling.keepAlive.after": ""}, "keepAlive.after: Invalid value"),
    "no keep-alive": ({"scaling.keepAlive.after": "0s"}, "0s is not between 1s and 168h"),
    "after with adaptive": (
        {"scaling.keepAlive": {"policy": "adaptive", "after": "2m"}},
        "after may only be set with policy fixed",
    ),
    "profile with a fixed time": (
        {"scaling.keepAlive": {"profile": "economy", "after": "2m"}},
        "profile may only be set with policy adaptive",
    ),
    "bounds of a fixed time": (
        {"scaling.keepAlive": {"policy": "fixed", "min": "1m"}},
        "min may only be set with policy adaptive",
    ),
    "unknown profile": ({"scaling.keepAlive.profile": "lazy"}, 'Unsupported value: "lazy"'),
    "shortest above longest": (
        {"scaling.keepAlive": {"min": "2m", "max": "1m"}},
        "min must not be greater than max",
    ),
    "schedule that does not parse": (
        {"scaling.schedules": [_CRON | {"cron": "every day at 8"}]},
        "spec.scaling.schedules[0].cron: Invalid value",
    ),
    "schedule without end": (
        {"scaling.schedules": [_CRON | {"duration": "0s"}]},
        "0s is not between 1m and 168h",
    ),
    "schedule that keeps more than there may be": (
        {"scaling": {"maxReplicas": 2, "schedules": [_CRON | {"minReplicas": 3}]}},
        "no schedule may keep more replicas than maxReplicas",
    ),
    "unknown roll-out": ({"scaling.rollout": "now"}, 'Unsupported value: "now"'),
    "word for nodes": ({"prewarm.nodes": "some"}, "must be all, none or a number of nodes"),
    "zero nodes": ({"prewarm.nodes": 0}, "must be all, none or a number of nodes"),
    "budget of nothing": ({"prewarm.cache.budget": "0Gi"}, "must be greater than 0"),
    "budget in words": ({"prewarm.cache.budget": "500 GB"}, "cache.budget: Invalid value"),
    "key twice": (
        {"access.keys": [{"name": "a", "sha256": _SHA}, {"name": "a", "sha256": _SHA}]},
        "spec.access.keys[1]: Duplicate value",
    ),
    "hash too short": (
        {"access.keys": [{"name": "a", "sha256": _SHA[1:]}]},
        "spec.access.keys[0].sha256: Invalid value",
    ),
    "hash in capitals": (
        {"access.keys": [{"name": "a", "sha256": _SHA.upper()}]},
        "spec.access.keys[0].sha256: Invalid value",
    ),
    "longer than a day": ({"queue.maxWait": "25h"}, "25h is not between 1s and 24h"),
    "first byte after the last": (
        {"queue": {"firstByteTimeout": "2h"}},
        "firstByteTimeout 2h must not be greater than totalTimeout 30m",
    ),
    "no waiting at all": ({"queue.maxRequests": 0}, "should be greater than or equal to 1"),
    "unknown field": ({"modle": {}}, 'unknown field "spec.modle"'),
    "unknown field in the template": (
        {"template": {"tolerations": []}},
        'unknown field "spec.template.tolerations"',
    ),
    "name of 64": ({"metadata.name": "a" * 64}, "metadata.name must be at most 63 characters"),
    "direct with keys": (
        {"access": {"direct": True, "keys": [{"name": "shop", "sha256": _SHA}]}},
        "direct leads past the gateways, which alone check keys",
    ),
    "name with a dot": ({"metadata.name": "a.b"}, "lower-case letters, digits and hyphens"),
    "budget of money of nothing": (
        {"cost": {"budget": {"monthly": "0"}}},
        "must be greater than 0",
    ),
    "monthly budget in words": (
        {"cost": {"budget": {"monthly": "abc"}}},
        "spec.cost.budget.monthly",
    ),
    "budget of less than nothing": (
        {"cost": {"budget": {"monthly": "-5"}}},
        "spec.cost.budget.monthly",
    ),
    "budget without an amount": ({"cost": {"budget": {"action": "warn"}}}, "Required value"),
    "budget that stops what runs": (
        {"cost": {"budget": {"monthly": "5", "action": "stop"}}},
        '"warn", "refuseWake"',
    ),
    "offer without a name": (
        {"cost": {"compareWith": {**_OFFER, "name": ""}}},
        "should be at least 1 chars long",
    ),
    "offer with half a price": (
        {"cost": {"compareWith": {"name": "hosted", "inputPerMillion": "0.15"}}},
        "Required value",
    ),
    "offer of a negative price": (
        {"cost": {"compareWith": {**_OFFER, "outputPerMillion": "-0.60"}}},
        "spec.cost.compareWith.outputPerMillion",
    ),
}

NOT_YET: dict[str, Changes] = {
    "spec.engine.kind: tensorrt-llm": {"engine.kind": "tensorrt-llm"},
    "spec.engine.kind: dynamo": {"engine.kind": "dynamo"},
    "spec.placement.capacityTimeout": {"placement.capacityTimeout": "3m"},
}
"""What `… is not supported yet` must be said about."""
