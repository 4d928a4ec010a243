# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab: what kubectl asks for by HTTPS, answered from the lab's store."""
