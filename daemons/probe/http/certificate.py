"""The end of a certificate's validity, read from its DER encoding.

The ssl module decodes only certificates that it has verified, and the expiry matters most for one that it refuses.
"""

from datetime import UTC, datetime

__all__ = ["CertificateError", "expiry_seconds"]

SEQUENCE = 0x30
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
VERSION = 0xA0
FIELDS_BEFORE_VALIDITY = 3
"""serialNumber, signature, issuer (RFC 5280, section 4.1)."""


class CertificateError(ValueError):
    """Bytes that are not an X.509 certificate."""


def expiry_seconds(der: bytes) -> int:
    """Return ``notAfter`` as Unix time in seconds (RFC 5280, section 4.1.2.5).

    Raises:
        CertificateError: not a certificate.
    """
    try:
        certificate, _rest = _element(der, SEQUENCE)
        body, _signature = _element(certificate, SEQUENCE)
        if body[0] == VERSION:
            _version, body = _element(body, VERSION)
        for _field in range(FIELDS_BEFORE_VALIDITY):
            _value, body = _element(body, body[0])
        validity, _subject = _element(body, SEQUENCE)
        _not_before, validity = _element(validity, validity[0])
        kind = validity[0]
        value, _end = _element(validity, kind)
        return int(_time(kind, value.decode("ascii")).timestamp())
    except (IndexError, ValueError, OverflowError) as error:
        raise CertificateError(f"{len(der)} bytes are not an X.509 certificate: {error}") from error


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Split the value of a DER element with this tag from what follows it (X.690, section 8.1)."""
    if data[0] != tag:
        raise CertificateError(f"tag {data[0]:#x} where {tag:#x} belongs")
    length = data[1]
    start = 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    end = start + length
    if end > len(data):
        raise CertificateError("cut short")
    return data[start:end], data[end:]


def _time(kind: int, text: str) -> datetime:
    if kind == UTC_TIME:
        # Two digits of a year are of 1950 to 2049 (RFC 5280, section 4.1.2.5.1).
        text = ("19" if text >= "50" else "20") + text
    elif kind != GENERALIZED_TIME:
        raise CertificateError(f"tag {kind:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
