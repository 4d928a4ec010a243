# SPDX-License-Identifier: Apache-2.0
"""A thin typed layer over `nft -f -`: objects, one transaction, running and reading back; no policies here."""
