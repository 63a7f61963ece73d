"""What a refused request finds as `code` in the OpenAI error object, when the endpoint itself is not to blame.

A request to an endpoint that cannot wake finds the reason of its condition Ready there instead: see `Reason`.
"""

from enum import StrEnum
from typing import Self


class ErrorCode(StrEnum):
    """One code, the HTTP status it comes with, and its meaning for people; sorted by status, then name."""

    _value_: str
    http_status: int
    meaning: str

    def __new__(cls, value: str, http_status: int, meaning: str) -> Self:
        """Keep the code as the value, so that members are plain strings everywhere."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.http_status = http_status
        member.meaning = meaning
        return member

    # fmt: off
    INVALID_BODY = ("invalid_body", 400,
        "The body could not be received: it broke off or was wrongly encoded.")
    INVALID_HTTP = ("invalid_http", 400,
        "What came is no HTTP/1.1 request.")
    INVALID_JSON = ("invalid_json", 400,
        "The body is no JSON object.")
    INVALID_MULTIPART = ("invalid_multipart", 400,
        "The body is a form without a boundary.")
    MODEL_MISSING = ("model_missing", 400,
        "The body names no model.")
    INVALID_API_KEY = ("invalid_api_key", 401,
        "The endpoint has keys and the request carries none of them, or every endpoint has keys and it carries none.")
    MODEL_NOT_FOUND = ("model_not_found", 404,
        "No endpoint serves a model of that name. One that sleeps is never answered so.")
    NOT_SUPPORTED = ("not_supported", 404,
        "OpenAI's API has the path and torpor has not; the message says what to do instead.")
    UNKNOWN_URL = ("unknown_url", 404,
        "The path is none of the OpenAI API's.")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405,
        "The path takes POST only.")
    BODY_TIMEOUT = ("body_timeout", 408,
        "The body did not arrive in time.")
    HEADER_TIMEOUT = ("header_timeout", 408,
        "The headers did not arrive in time.")
    BODY_TOO_LARGE = ("body_too_large", 413,
        "The body is larger than the gateway takes.")
    UNSUPPORTED_ENCODING = ("unsupported_encoding", 415,
        "The body is compressed in a way that is not known here; gzip and deflate are.")
    GATEWAY_FULL = ("gateway_full", 429,
        "The bodies being read and the waiting requests of all endpoints together fill the gateway.")
    KEY_BUSY = ("key_busy", 429,
        "The key has as many requests at this gateway, waiting and running, as spec.access.keys.maxInFlight allows.")
    QUEUE_FULL = ("queue_full", 429,
        "As many requests or bytes wait for the endpoint as spec.queue allows.")
    HEADERS_TOO_LARGE = ("headers_too_large", 431,
        "The request's first line and headers are larger, or more, than the gateway takes.")
    INTERNAL_ERROR = ("internal_error", 500,
        "The gateway failed; its log says why.")
    ENGINE_BROKE = ("engine_broke", 502,
        "The engine closed the connection before its answer was complete.")
    GATEWAY_ENDING = ("gateway_ending", 503,
        "This gateway is shutting down and can wait no longer; another one answers.")
    GATEWAY_STARTING = ("gateway_starting", 503,
        "This gateway has not read the endpoints yet and cannot know whether the model exists.")
    TOO_MANY_CONNECTIONS = ("too_many_connections", 503,
        "The gateway has as many connections as it may, and each of them has a request.")
    WAKE_DENIED = ("WakeDenied", 503,
        "The API server does not let the gateway wake the endpoint.")
    WOULD_WAIT = ("would_wait", 503,
        "The request would have to wait and came with x-torpor-no-wait. The endpoint is woken all the same.")
    ENGINE_TIMEOUT = ("engine_timeout", 504,
        "The engine did not answer within spec.queue.firstByteTimeout, or not completely within totalTimeout.")
    WAIT_TIMEOUT = ("wait_timeout", 504,
        "No replica had room within spec.queue.maxWait.")
    HTTP_VERSION_NOT_SUPPORTED = ("http_version_not_supported", 505,
        "The request came in a version of HTTP other than 1.1 and 1.0.")
    # fmt: on
