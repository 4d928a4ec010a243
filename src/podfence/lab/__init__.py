# SPDX-License-Identifier: Apache-2.0
"""A small cluster on one machine: nodes and pods as network namespaces, real processes, the real agent."""
