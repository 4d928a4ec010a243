# SPDX-License-Identifier: Apache-2.0
"""What a change opens and closes: two clusters compared."""
