# SPDX-License-Identifier: Apache-2.0
"""Measurements of podfence on generated clusters: ``python -m bench`` prints them as a report."""
