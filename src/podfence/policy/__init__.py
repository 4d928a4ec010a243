# SPDX-License-Identifier: Apache-2.0
"""What policies mean: rules, tiers, verdicts with reasons."""
