"""The boot server's own certificate, for the URLs that give secrets, and how hosts know its key."""

import base64
import hashlib
import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from provision.errors import BadInput
from provision.lock import alone_in

LIFETIME = timedelta(days=3650)
"""Hosts know the key, not who signed it until when."""


def own_certificate(folder: Path, address: IPv4Address) -> tuple[Path, Path]:
    """A certificate of ours and its key, made where they are not there yet.

    Made anew, too, where they do not belong together: a power cut may come between them. Of several
    processes one makes them, and the others wait for it.
    Raises BadInput when the folder cannot be written to.
    """
    chain, private = folder / "boot.pem", folder / "boot.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone_in(folder):
            if not _is_pair(chain, private):
                _make(chain, private, address)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadInput(f"{folder}: {why}, expected a folder for our certificate") from None
    return chain, private


def pin(chain: bytes) -> str:
    """The digest of a certificate's key, as `curl --pinnedpubkey` takes it (RFC 7469, 2.4).

    Raises BadInput.
    """
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise BadInput(f"the certificate: {error}, expected it in PEM") from None
    key = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256//{base64.b64encode(hashlib.sha256(key).digest()).decode()}"


def _is_pair(chain: Path, private: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, private)
    except (ssl.SSLError, FileNotFoundError):
        return False
    return True


def _make(chain: Path, private: Path, address: IPv4Address) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rackseed boot server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
    )
    signed = certificate.sign(key, SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(private, pem, 0o600)
    _write(chain, signed.public_bytes(Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole under its name, or not there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.touch(mode)
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
