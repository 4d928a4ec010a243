# SPDX-License-Identifier: Apache-2.0
"""The compiled form of policies for one node: groups of local pods, and what the kernel looks up for them."""
