# SPDX-License-Identifier: Apache-2.0
"""One node's loop: events in, kernel programs out, and a record of when each became real."""
