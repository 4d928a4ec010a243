# SPDX-License-Identifier: Apache-2.0
"""The slow twin: a second, literal implementation of the specification, for tests to compare with.

It shares only the parsed objects and the options with the engine. `twin` answers questions,
`strategies` draws random clusters, `boundaries` finds the addresses and ports worth asking about.
"""
