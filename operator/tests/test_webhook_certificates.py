"""Certificates: renewed ones are used at once, unusable ones never, and both can be seen."""

import logging
import os
import re
import ssl
import threading
import time
import warnings
from contextlib import suppress

import pytest
from tests.certificates import Authority

from penstock_operator.certificates import Certificates
from servicekit.exceptions import ConfigurationError


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "made")


@pytest.fixture(scope="module")
def first(authority):
    return authority.sign()


@pytest.fixture(scope="module")
def second(authority):
    return authority.sign()


@pytest.fixture
def directory(tmp_path, first):
    write(tmp_path, first.certificate, first.key)
    return tmp_path


def write(directory, certificate, key):
    (directory / "tls.crt").write_bytes(certificate)
    (directory / "tls.key").write_bytes(key)


def mount(directory, pair):
    """Put a pair there as the kubelet does: files lead through ..data, which is replaced at once."""
    made = directory / f"..{time.monotonic_ns()}"
    made.mkdir()
    write(made, pair.certificate, pair.key)
    (directory / "..data_tmp").symlink_to(made.name)
    os.replace(directory / "..data_tmp", directory / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def served(certificates, *, highest=ssl.TLSVersion.TLSv1_3, name=None):
    """The certificate that a new connection gets, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what one test asks for
        context.minimum_version = context.maximum_version = highest
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.context.wrap_bio(to_server, to_client, server_side=True)
    client = context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(3):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.getpeercert(binary_form=True)


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# What is served


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [None, "penstock-webhook.penstock.svc"])
def test_it_is_served_with_and_without_a_server_name(directory, first, highest, name):
    assert served(Certificates(str(directory)), highest=highest, name=name) == first.der


def test_nothing_older_than_tls_1_2_is_spoken(directory):
    with pytest.raises(ssl.SSLError):
        served(Certificates(str(directory)), highest=ssl.TLSVersion.TLSv1_1)


def test_a_self_signed_one_is_as_good(tmp_path, authority):
    pair = authority.self_signed()
    write(tmp_path, pair.certificate, pair.key)
    assert served(Certificates(str(tmp_path))) == pair.der


def test_a_chain_is_served_with_its_first_certificate(tmp_path, authority, first):
    write(tmp_path, first.certificate + authority.certificate, first.key)
    assert served(Certificates(str(tmp_path))) == first.der


# Renewal


def test_a_mounted_secret_is_renewed_for_the_next_connection(tmp_path, first, second):
    mount(tmp_path, first)
    certificates = Certificates(str(tmp_path))
    assert served(certificates) == first.der
    mount(tmp_path, second)
    assert served(certificates) == second.der
    mount(tmp_path, first)
    assert served(certificates) == first.der


def test_a_renewal_is_told_once_and_what_stays_is_not(directory, first, second, caplog):
    caplog.set_level(logging.INFO)
    certificates = Certificates(str(directory))
    served(certificates)
    assert caplog.records == []
    write(directory, second.certificate, second.key)
    for _ in range(3):
        served(certificates)
    (told,) = caplog.records
    assert told.getMessage() == "renewed the webhook's certificate"


def test_the_expiry_is_that_of_the_pair_in_use(directory, authority):
    certificates = Certificates(str(directory))
    assert certificates.expires == pytest.approx(time.time() + 2 * 86400, abs=3600)
    later = authority.sign(days=30)
    write(directory, later.certificate, later.key)
    assert certificates.expires == pytest.approx(time.time() + 30 * 86400, abs=3600)


def test_of_two_files_that_are_written_one_after_the_other_both_are_awaited(directory, first, second, caplog):
    certificates = Certificates(str(directory))
    (directory / "tls.crt").write_bytes(second.certificate)
    assert served(certificates) == first.der
    assert "is not the key of" in certificates.refused
    (directory / "tls.key").write_bytes(second.key)
    assert served(certificates) == second.der
    assert certificates.refused is None
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tls.crt", b"", "not a server's certificate and its key"),
        ("tls.key", b"", "not a server's certificate and its key"),
        ("tls.crt", b"-----BEGIN CERTIFICATE-----\nMIIB", "not a server's certificate and its key"),
        ("tls.key", b"\xff\x00", "not a server's certificate and its key"),
        ("tls.crt", None, "cannot read .*tls.crt: No such file or directory"),
        ("tls.key", None, "cannot read .*tls.key: No such file or directory"),
    ],
)
def test_what_cannot_be_used_leaves_the_old_pair_and_is_said_once(
    directory, first, second, caplog, name, content, reason
):
    certificates = Certificates(str(directory))
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    for _ in range(3):
        assert served(certificates) == first.der
    (error,) = errors(caplog)
    assert re.search(reason, error)
    assert re.search(reason, certificates.refused)
    assert certificates.problem is None  # pods still get their sidecars
    write(directory, second.certificate, second.key)
    assert served(certificates) == second.der
    assert certificates.refused is None


def test_a_key_of_another_kind_is_refused(directory, authority, first):
    certificates = Certificates(str(directory))
    (directory / "tls.key").write_bytes(authority.sign(algorithm="rsa").key)
    assert served(certificates) == first.der
    assert "is not the key of" in certificates.refused


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_passphrase(directory, authority, first):
    certificates = Certificates(str(directory))
    pair = authority.sign(passphrase="secret")
    write(directory, pair.certificate, pair.key)
    assert served(certificates) == first.der
    assert "store it without a passphrase" in certificates.refused
    with pytest.raises(ConfigurationError, match="without a passphrase"):
        Certificates(str(directory))


def test_an_expired_pair_does_not_take_the_place_of_one_that_holds(directory, authority, first):
    certificates = Certificates(str(directory))
    expired = authority.sign(days=-1)
    write(directory, expired.certificate, expired.key)
    assert served(certificates) == first.der
    assert "expired on" in certificates.refused
    assert certificates.problem is None


def test_the_pair_before_is_refused_no_more_when_it_comes_back(directory, first):
    certificates = Certificates(str(directory))
    (directory / "tls.key").unlink()
    assert certificates.refused
    (directory / "tls.key").write_bytes(first.key)
    assert certificates.refused is None


def test_pairs_that_are_replaced_all_the_time_are_never_mixed(tmp_path, first, second):
    mount(tmp_path, first)
    certificates = Certificates(str(tmp_path))
    seen, stop = set(), threading.Event()

    def renew():
        while not stop.is_set():
            for pair in (second, first):
                mount(tmp_path, pair)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        deadline = time.monotonic() + 20
        while seen != {first.der, second.der}:
            seen.add(served(certificates))
            assert time.monotonic() < deadline
            assert "is not the key" not in (certificates.refused or "")
    finally:
        stop.set()
        renewing.join()


def test_files_that_are_replaced_while_they_are_read_are_read_again(
    directory, first, second, monkeypatch, caplog
):
    certificates = Certificates(str(directory))
    (directory / "tls.crt").write_bytes(second.certificate)
    load = Certificates._loaded

    def load_while_the_key_comes(self, files):
        try:
            return load(self, files)
        finally:
            (directory / "tls.key").write_bytes(second.key)

    monkeypatch.setattr(Certificates, "_loaded", load_while_the_key_comes)
    assert served(certificates) == second.der
    assert errors(caplog) == []


# The start


def test_one_that_has_expired_is_served_and_is_a_problem(tmp_path, authority):
    """The operator has more to do than this: it starts."""
    expired = authority.sign(days=-1)
    write(tmp_path, expired.certificate, expired.key)
    certificates = Certificates(str(tmp_path))
    assert served(certificates) == expired.der
    assert certificates.expires < time.time()
    assert re.search(r"tls.crt expired on .*: renew it", certificates.problem)
    renewed = authority.sign()
    write(tmp_path, renewed.certificate, renewed.key)
    assert certificates.problem is None


def test_nothing_there_is_an_error_that_names_the_file_and_the_way_out(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        Certificates(str(tmp_path))
    assert str(error.value) == (
        f"no certificate for the webhook: cannot read {tmp_path}/tls.crt: No such file or directory. Mount a "
        f"Secret of type kubernetes.io/tls at {tmp_path}, or run without injection: leave "
        f"PENSTOCK_WEBHOOK_CERTIFICATES out"
    )


def test_a_pair_that_does_not_match_is_an_error(tmp_path, first, second):
    write(tmp_path, first.certificate, second.key)
    with pytest.raises(ConfigurationError, match=r"tls.key is not the key of .*tls.crt"):
        Certificates(str(tmp_path))


def test_no_text_holds_a_key(tmp_path, first, caplog):
    write(tmp_path, first.key, first.certificate)
    with pytest.raises(ConfigurationError) as error:
        Certificates(str(tmp_path))
    for line in first.key.decode().splitlines():
        assert line not in str(error.value) + caplog.text
