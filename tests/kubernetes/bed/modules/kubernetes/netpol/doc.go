// SPDX-License-Identifier: Apache-2.0

// Package netpol is the upstream e2e suite with only the NetworkPolicy tests in it: it builds in a
// fraction of the time of the whole suite and takes the same flags.
package netpol
