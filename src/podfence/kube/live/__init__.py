# SPDX-License-Identifier: Apache-2.0
"""Objects of a running cluster: lists and watches of its API server, decoded straight to what podfence uses.

    async with Session(access, credentials) as session:     requests with credentials, TLS, proxies, timeouts
        Reflector(session, RESOURCES["Pod"], deliver)        one kind for ever: a list, then its changes
    snapshot.load_live(access, os.environ)                   all kinds once, as `kube.load` gives files

`aiohttp` is imported by `session` and what builds on it, and by nothing else.
"""
