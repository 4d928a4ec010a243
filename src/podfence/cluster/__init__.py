# SPDX-License-Identifier: Apache-2.0
"""The cluster state at one instant, and its indexes."""
