# SPDX-License-Identifier: Apache-2.0
"""The certificate of a lab's server, signed by an authority of its own that signs nothing else.

kubectl sends its token over HTTPS only. openssl makes both; the private key of the authority is not kept.
"""

from __future__ import annotations

import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from podfence.errors import PodfenceError

_DAYS: Final = "3650"
_SECONDS: Final = 60
_CURVE: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates(NamedTuple):
    """What a server and its clients need, as PEM."""

    authority: str
    certificate: str
    key: str

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The library reads files only; nobody else can read this one.
        with tempfile.NamedTemporaryFile("w", prefix="podfence-", encoding="ascii") as file:
            file.write(self.certificate + self.key)
            file.flush()
            context.load_cert_chain(file.name)
        return context


# openssl's own settings differ from machine to machine, so all that matters is said here.
_SETTINGS: Final = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = podfence lab
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def make() -> Certificates:
    """Return new certificates for the loopback addresses. Raises PodfenceError if openssl cannot make them."""
    with tempfile.TemporaryDirectory(prefix="podfence-") as folder:
        place = Path(folder)
        place.joinpath("settings").write_text(_SETTINGS, encoding="ascii")
        request = ("req", "-config", "settings", *_CURVE)
        own = ("-x509", "-extensions", "authority", "-days", _DAYS)
        _openssl(*request, *own, "-subj", "/CN=podfence lab authority", "-keyout", "ca.key", "-out", "ca.crt", at=place)
        _openssl(*request, "-keyout", "server.key", "-out", "server.csr", at=place)
        signed = ("-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "2")
        names = ("-extfile", "settings", "-extensions", "server")
        _openssl("x509", *signed, "-days", _DAYS, *names, "-out", "server.crt", at=place)
        texts = (place.joinpath(name).read_text(encoding="ascii") for name in ("ca.crt", "server.crt", "server.key"))
        return Certificates(*texts)


def _openssl(*arguments: str, at: Path) -> None:
    try:
        done = subprocess.run(
            ["openssl", *arguments], cwd=at, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except FileNotFoundError:
        raise PodfenceError("openssl was not found: install the package openssl") from None
    if done.returncode:
        raise PodfenceError(f"openssl failed: {done.stderr.strip().splitlines()[-1:]}")
