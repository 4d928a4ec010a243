# SPDX-License-Identifier: Apache-2.0
"""Whether a lab does what the engine says: every kind of connection, tried and compared."""
