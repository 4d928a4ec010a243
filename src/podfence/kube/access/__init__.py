# SPDX-License-Identifier: Apache-2.0
"""How a cluster is reached and with which credentials: kubeconfigs as kubectl reads them, without any HTTP.

    load.load(Choice, environ) -> Access      which files there are, merged, one context of them chosen
    Credentials(access).current() -> Issued   what a request is sent with now: tokens rotate, plugins are asked
    tls.context(access, issued.pair)          what a connection is made with

Where upstream's documents are silent, client-go's tools/clientcmd, transport and rest packages are followed.
"""
