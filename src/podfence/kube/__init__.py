# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects: read as kubectl reads them, validated as the API server does."""
