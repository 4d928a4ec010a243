# SPDX-License-Identifier: Apache-2.0
"""Messages to and from the kernel: what is written is read back, and what is cut off or broken ends the reading."""

from __future__ import annotations

import pytest

from podfence.netlink.messages import ERROR, attribute, attributes, error_number, message, messages, nested


def test_what_is_written_is_read_back() -> None:
    content = attribute(1, b"") + attribute(2, b"12345") + nested(3, [attribute(4, b"6"), attribute(5, b"7890")])
    data = message(7, 1, 8, content) + message(9, 1, 10, b"abc")
    (kind, sequence, (start, end)), (other, last, place) = messages(data)
    assert (kind, sequence, other, last) == (7, 8, 9, 10)
    assert data[slice(*place)] == b"abc"
    found = list(attributes(data, start, end))
    assert [(number, data[first:after]) for number, first, after in found[:2]] == [(1, b""), (2, b"12345")]
    number, first, after = found[2]
    inner = [(number, data[one:two]) for number, one, two in attributes(data, first, after)]
    assert (number, inner) == (3, [(4, b"6"), (5, b"7890")])


def test_what_is_longer_than_an_attribute_can_be_is_refused() -> None:
    assert len(attribute(1, bytes(0xFFFB))) == 0x10000
    with pytest.raises(OverflowError):
        nested(1, [attribute(2, bytes(0xFFF8))])


def test_the_error_of_an_answer_that_is_cut_off_is_read() -> None:
    answer = message(ERROR, 0, 3, (-22).to_bytes(4, "little", signed=True) + bytes(100))[:60]
    ((kind, sequence, (start, end)),) = messages(answer)
    assert (kind, sequence, error_number(answer, start), end) == (ERROR, 3, 22, 60)


@pytest.mark.parametrize("length", [0, 3, 15])
def test_a_message_shorter_than_its_header_ends_the_reading(length: int) -> None:
    whole = message(7, 0, 1, b"")
    broken = length.to_bytes(4, "little") + bytes(60)
    assert [kind for kind, _, _ in messages(whole + broken)] == [7]


@pytest.mark.parametrize("length", [0, 3, 13, 500])
def test_an_attribute_that_is_not_whole_ends_the_reading(length: int) -> None:
    data = attribute(1, b"1234") + length.to_bytes(2, "little") + bytes(10)
    assert [number for number, _, _ in attributes(data, 0, len(data))] == [1]
