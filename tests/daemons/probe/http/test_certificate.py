import contextlib
import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.http.certificate import CertificateError, expiry_seconds

CA = trustme.CA()


def certificate(until: dt.datetime) -> bytes:
    pem = CA.issue_cert("a.example", not_before=dt.datetime(1990, 1, 1, tzinfo=dt.UTC), not_after=until)
    return x509.load_pem_x509_certificate(pem.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)


GOOD = certificate(dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    "until",
    [
        dt.datetime(1999, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 21, 0, 0, 0, tzinfo=dt.UTC),
        dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
        # From 2050 on another encoding is used.
        dt.datetime(2050, 1, 1, 0, 0, 0, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
    ],
)
def test_the_expiry_is_read_from_the_certificate(until: dt.datetime) -> None:
    assert expiry_seconds(certificate(until)) == int(until.timestamp())


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CertificateError):
        expiry_seconds(data)


@given(st.integers(0, 120), st.integers(0, 255))
def test_a_damaged_certificate_is_refused_or_read_but_never_breaks(position: int, value: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] = value
    with contextlib.suppress(CertificateError):
        assert isinstance(expiry_seconds(bytes(damaged)), int)


@given(st.integers(0, 100))
def test_a_truncated_certificate_is_refused(length: int) -> None:
    with pytest.raises(CertificateError):
        expiry_seconds(GOOD[:length])
