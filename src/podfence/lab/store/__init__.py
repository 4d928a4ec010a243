# SPDX-License-Identifier: Apache-2.0
"""What the API server of a lab keeps: objects as JSON, and the changes of them; nothing here knows HTTP or pods."""
