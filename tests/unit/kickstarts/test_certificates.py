"""The program that makes and renews a controller's certificate: openssl's own, below another root.

That httpd serves what it made is in `tests/cloud`.
"""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from kickstarts.render import helpers_of
from kickstarts.roles import roles
from tests.tools import require_tool

RELOAD = "systemctl try-reload-or-restart httpd.service"
LIFETIME, ENDS_SOON = timedelta(days=825), timedelta(days=60)
NAMES = {"ctl01.cloud.example.org", "ctl01", "10.20.0.11"}
RECORD = '#!/bin/sh\necho "${0##*/} $*" >>"$CALLS"\n'


class Host:
    """A root with what the program needs of its host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "etc/pki/rackseed"
        self.trusted = root / "etc/pki/trusted"
        """Authorities that the system believes."""
        self.log = root / "calls"
        self.program = root / "rackseed-certificates"
        self.program.write_text(helpers_of(roles()["controller"])["certificates.sh"])
        settings = root / "etc/rackseed/settings"
        settings.parent.mkdir(parents=True)
        settings.write_text("HOST='ctl01.cloud.example.org'\nADDRESS='10.20.0.11'\n")
        (root / "bin").mkdir()
        for name in ("chgrp", "systemctl"):
            (root / "bin" / name).write_text(RECORD)
            (root / "bin" / name).chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.program)], capture_output=True, text=True, check=False,
            env={"ROOT": str(self.root), "PATH": f"{self.root}/bin:/usr/bin:/bin",
                 "SSL_CERT_DIR": str(self.trusted), "CALLS": str(self.log)},
        )  # fmt: skip

    def renew(self) -> None:
        done = self.run()
        assert done.returncode == 0, done.stderr

    @property
    def calls(self) -> list[str]:
        """What other programs were told."""
        return self.log.read_text().splitlines()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "controller.crt").read_bytes())

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def openssl(self, *words: str) -> None:
        """Run openssl where the certificates are."""
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def read_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        key = load_pem_private_key((self.folder / f"{name}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def issue(self, days: int, name: str = "ctl01", authority: str = "authority") -> None:
        """Let an authority issue a certificate for the controller's key, for so many days."""
        issuer = x509.load_pem_x509_certificate((self.folder / f"{authority}.crt").read_bytes())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(self.read_key("controller").public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days, minutes=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        signed = builder.sign(self.read_key(authority), SHA256())
        (self.folder / "controller.crt").write_bytes(signed.public_bytes(Encoding.PEM))

    def make_authority(self, name: str) -> None:
        """An authority of somebody else."""
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                     "-out", f"{name}.crt")  # fmt: skip


@pytest.fixture
def fresh(tmp_path):
    """A host with its first certificate."""
    require_tool("openssl")
    made = Host(tmp_path)
    made.renew()
    return made


@pytest.fixture
def host(fresh):
    """The same, with what was told until now forgotten."""
    fresh.log.write_text("")
    return fresh


def names_of(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in found}


def left(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - datetime.now(UTC)


def test_the_first_certificate_is_for_the_controllers_names_by_an_authority_of_its_own(fresh):
    authority = x509.load_pem_x509_certificate((fresh.folder / "authority.crt").read_bytes())
    fresh.certificate.verify_directly_issued_by(authority)
    assert names_of(fresh.certificate) == NAMES
    assert LIFETIME - timedelta(hours=1) < left(fresh.certificate) <= LIFETIME
    modes = {path.name: path.stat().st_mode & 0o777 for path in fresh.folder.iterdir()}
    assert modes == {
        "authority.key": 0o600, "authority.crt": 0o644,
        "controller.key": 0o640, "controller.crt": 0o644,
    }  # fmt: skip
    assert fresh.calls == [f"chgrp nova {fresh.folder}/controller.key.new", RELOAD]


@pytest.mark.parametrize("days", [-1, 10, 59])
def test_one_that_ends_soon_is_issued_anew_with_its_key_and_its_names(host, days):
    host.issue(days, "cloud.example.org")
    before, old = host.content(), host.certificate
    host.renew()
    new = host.certificate
    assert left(new) > LIFETIME - timedelta(hours=1)
    assert new.serial_number != old.serial_number
    assert (names_of(new), new.subject) == ({"cloud.example.org"}, old.subject)
    assert new.public_key() == host.read_key("controller").public_key()
    assert {**host.content(), "controller.crt": b""} == {**before, "controller.crt": b""}
    assert (host.folder / "controller.crt").stat().st_mode & 0o777 == 0o644
    assert host.calls == [RELOAD]


def test_one_that_holds_is_left_alone(host):
    host.issue(ENDS_SOON.days + 1)
    before = host.content()
    host.renew()
    assert host.content() == before
    assert host.calls == []


@pytest.mark.parametrize("replaced", [False, True], ids=["the certificate", "and the authority"])
def test_one_of_an_operator_is_left_alone(host, replaced):
    host.make_authority("his")
    host.issue(10, authority="his")
    host.trusted.mkdir()
    shutil.copy(host.folder / "his.crt", host.trusted)
    host.openssl("rehash", str(host.trusted))
    if replaced:
        (host.folder / "his.crt").rename(host.folder / "authority.crt")
    before = host.content()
    host.renew()
    assert host.content() == before
    assert host.calls == []


def test_what_was_removed_is_made_again(host):
    before = host.content()
    for name in before:
        (host.folder / name).unlink()
    host.renew()
    after = host.content()
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before)
    assert names_of(host.certificate) == NAMES


def test_a_key_of_an_operator_gets_a_certificate_and_stays(host):
    (host.folder / "controller.crt").unlink()
    before = host.content()
    host.renew()
    assert {name: host.content()[name] for name in before} == before
    assert host.certificate.public_key() == host.read_key("controller").public_key()


def test_a_renewal_that_fails_leaves_the_certificate_and_says_so(host):
    host.issue(10)
    (host.folder / "controller.key").write_text("")
    before = host.content()
    assert host.run().returncode != 0
    assert {name: host.content()[name] for name in before} == before
    assert host.calls == []
