# SPDX-License-Identifier: Apache-2.0
"""What a lab holds, as an API server and its controllers keep it; nothing here runs anything."""
