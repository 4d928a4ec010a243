// SPDX-License-Identifier: Apache-2.0

// Package kubernetes exists so that the module has a package; the programs are the tools of the module.
package kubernetes
