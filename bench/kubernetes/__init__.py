# SPDX-License-Identifier: Apache-2.0
"""Measurements of podfence's agents on a real Kubernetes: ``python -m bench.kubernetes`` prints them as a report."""
