# SPDX-License-Identifier: Apache-2.0
"""The agent of a real node: fed by the watches of an API server, looked at by people and by monitoring."""
