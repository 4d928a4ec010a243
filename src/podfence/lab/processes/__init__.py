# SPDX-License-Identifier: Apache-2.0
"""What runs in a lab: the processes of pods, the programs in them, and how they are asked to do something."""
