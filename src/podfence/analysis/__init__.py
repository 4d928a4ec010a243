# SPDX-License-Identifier: Apache-2.0
"""Questions built on verdicts: check, list, and the endpoints and ports people write."""
