# SPDX-License-Identifier: Apache-2.0
"""Speaking with the kernel: messages with attributes, and a socket for lists and changes; no tables of rules here."""
