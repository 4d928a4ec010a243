# SPDX-License-Identifier: Apache-2.0
"""What the controllers of a cluster do: each looks at some objects of the store and writes others.

They run one after the other until nothing is to be done, so what they make of a request is the same every time.
"""
