"""Whom a TLS connection trusts, and a sentence when it does not."""

import os
import ssl
from typing import NamedTuple, cast

from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure


class Trust(NamedTuple):
    """A context, and the authorities it was given by name."""

    context: ssl.SSLContext
    authorities: str
    """For messages: "the system's authorities and CN=…"."""


def build_trust(ca_file: str) -> Trust:
    """Trust the system's authorities and, in addition, those in `ca_file` (PEM; empty for none).

    A certificate in the file is trusted as it is, authority or not, so a self-signed server works. The
    strict profile that newer Pythons switch on is left off: private authorities often lack its extensions.

    Raises:
        FetchFailure: the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not ca_file:
        return Trust(context, "the system's authorities; spec.model.s3.caRef names another one")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    name = os.path.basename(ca_file)
    try:
        context.load_verify_locations(ca_file)
        subjects = _read_subjects(ca_file)
    except (OSError, ssl.SSLError) as error:
        detail = error.strerror or str(error)
        raise FetchFailure(
            FetchReason.TLS_UNTRUSTED,
            f"{name} of spec.model.s3.caRef cannot be read as PEM certificates ({detail})",
        ) from error
    return Trust(context, f"the system's authorities and {subjects} from spec.model.s3.caRef")


def _read_subjects(ca_file: str) -> str:
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    alone.load_verify_locations(ca_file)
    subjects = [_format_name(certificate["subject"]) for certificate in alone.get_ca_certs()]
    return " and ".join(f"{subject!r}" for subject in subjects[:3]) or "one certificate"


def _format_name(subject: object) -> str:
    """Write a distinguished name; `ssl` gives it as tuples of tuples of (attribute, value)."""
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    groups = cast("tuple[tuple[tuple[str, str], ...], ...]", subject)
    pairs = [pair for group in groups for pair in group]
    return ", ".join(f"{short.get(attribute, attribute)}={value}" for attribute, value in pairs)


def explain_tls_error(endpoint: str, trust: Trust, error: ssl.SSLError) -> FetchFailure:
    """Turn a failed handshake into a sentence that names the endpoint and who was trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FetchFailure(
            FetchReason.TLS_UNTRUSTED,
            f"the certificate of {endpoint} is not trusted ({error.verify_message}); "
            f"tried {trust.authorities}",
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return FetchFailure(
            FetchReason.UNREACHABLE,
            f"{endpoint} does not speak TLS; the S3 endpoint is probably http://",
        )
    return FetchFailure(
        FetchReason.UNREACHABLE,
        f"the TLS handshake with {endpoint} failed ({error.reason or error})",
        retryable=True,
    )
