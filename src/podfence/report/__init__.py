# SPDX-License-Identifier: Apache-2.0
"""Answers as text: tables, grids, CSV, Markdown, JSON and YAML. Nothing is computed here."""
