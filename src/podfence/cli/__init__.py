# SPDX-License-Identifier: Apache-2.0
"""The commands: options in, calls of the Python interface, reports out; no logic of their own."""
