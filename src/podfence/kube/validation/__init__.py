# SPDX-License-Identifier: Apache-2.0
"""What an API server checks of the objects podfence reads, in its words (semantics 9)."""
