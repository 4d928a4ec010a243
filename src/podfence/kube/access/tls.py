# SPDX-License-Identifier: Apache-2.0
"""TLS as client-go does it, from data that is in memory and never in a file with a name (transport.TLSConfigFor)."""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from podfence.errors import AccessError

if TYPE_CHECKING:
    from podfence.kube.access.access import Access, Pair

_PROTOCOLS: Final = ("http/1.1",)


def context(access: Access, pair: Pair | None = None) -> ssl.SSLContext:
    """Return what connections to the server of `access` are made with; `pair` is the client's certificate.

    The name to verify is `access.server_name` if set, else the server's host, and is given with the
    connection. Raises AccessError for authorities, a certificate or a key that cannot be read, or that do not
    belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(list(_PROTOCOLS))
    made.hostname_checks_common_name = False
    if access.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif access.ca:
        # As in Go, whatever is given is trusted, be it an authority's own certificate or not.
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _trust(made, access)
    else:
        made.load_default_certs()
    if pair is not None:
        _prove(made, pair)
    return made


def _trust(made: ssl.SSLContext, access: Access) -> None:
    try:
        made.load_verify_locations(cadata=access.ca.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        message = f"{access.source}: the certificate authority of {access.server} holds no certificate as PEM"
        raise AccessError(message) from None


def _prove(made: ssl.SSLContext, pair: Pair) -> None:
    try:
        with ExitStack() as stack:
            certificate = stack.enter_context(_unnamed(pair.certificate))
            key = stack.enter_context(_unnamed(pair.key.reveal()))
            made.load_cert_chain(_path(certificate), _path(key), password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise AccessError(f"{pair.place}: the client's key does not belong to its certificate") from None
        raise AccessError(f"{pair.place}: the client's certificate or key is not PEM, or is damaged") from None


def _refuse_password() -> NoReturn:
    raise AccessError("the client's key is encrypted, which no Kubernetes client reads (decrypt it with openssl pkey)")


def _unnamed(data: bytes) -> BinaryIO:
    """Return an open file without a name that holds `data`, in memory where the system can do that."""
    file: BinaryIO
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("podfence", os.MFD_CLOEXEC), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    file.write(data)
    file.flush()
    file.seek(0)
    return file


def _path(file: BinaryIO) -> str:
    return f"/dev/fd/{file.fileno()}"
