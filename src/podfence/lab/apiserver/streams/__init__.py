# SPDX-License-Identifier: Apache-2.0
"""What passes between a client and a pod: commands, main processes and logs."""
