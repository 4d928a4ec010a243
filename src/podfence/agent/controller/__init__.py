# SPDX-License-Identifier: Apache-2.0
"""What is done once for a cluster, and not by the agent of each node."""
