# SPDX-License-Identifier: Apache-2.0
"""What connects a lab: wires, routes, Services, names, and the world outside."""
