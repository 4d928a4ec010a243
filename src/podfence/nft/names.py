# SPDX-License-Identifier: Apache-2.0
"""Identifiers, comments and numbers as nft takes them.

Where a word of nft's language is reserved changes from one version to the next, so none of them is used as a name.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from podfence.nft.errors import InvalidError

NAME_LIMIT: Final = 255
"""The longest name that the kernel stores."""

COMMENT_LIMIT: Final = 127
"""The longest comment, in bytes of UTF-8, that every supported nft stores."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9/_.-]*", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_TO_ESCAPE = re.compile(rb"[^A-Za-z0-9.-]")
_DIGEST: Final = 40


def check_name(name: str, what: str) -> None:
    """Raise InvalidError unless nft takes `name` as the name of `what` ("table", "chain", …)."""
    if not _NAME.fullmatch(name):
        raise InvalidError(
            f"{name!r} cannot be the name of a {what}: a letter or _ comes first, then letters, digits, / _ . and -"
        )
    if name in KEYWORDS:
        raise InvalidError(f"{name!r} cannot be the name of a {what}: it is a word of nft's language")
    if len(name) > NAME_LIMIT:
        raise InvalidError(f"the name of a {what} has {len(name)} characters, and {NAME_LIMIT} is the limit: {name!r}")


def identifier(prefix: str, *parts: str) -> str:
    """Return a valid name made of `prefix` and any texts; different parts give different names.

    Letters, digits, dots and dashes stand for themselves, so names of Kubernetes objects stay readable;
    every other byte is written `/` and two hexadecimal digits, which leaves `_` to separate the parts.
    What is too long is cut, and ends with `/h` and a digest of the whole.

    Raises InvalidError if `prefix` is not letters and digits, or without parts (the prefix may be a keyword).
    """
    if not _PREFIX.fullmatch(prefix) or not parts:
        raise InvalidError(f"an identifier needs a prefix of letters and digits, and a part: {(prefix, *parts)!r}")
    escaped = (
        _TO_ESCAPE.sub(lambda byte: b"/%02x" % ord(byte[0]), part.encode("utf-8", "surrogatepass")).decode("ascii")
        for part in parts
    )
    name = "_".join((prefix, *escaped))
    if len(name) > NAME_LIMIT:
        digest = hashlib.sha256(name.encode("ascii")).hexdigest()[:_DIGEST]
        name = f"{name[: NAME_LIMIT - _DIGEST - 2]}/h{digest}"
    check_name(name, "identifier")
    return name


def check_comment(comment: str | None) -> None:
    """Raise InvalidError unless `comment` is None or a text that nft stores and gives back unchanged."""
    if comment is None:
        return
    if not comment or '"' in comment or not comment.isprintable():
        raise InvalidError(f"a comment is not empty and holds no quotation mark and no control character: {comment!r}")
    if len(comment.encode()) > COMMENT_LIMIT:
        raise InvalidError(f"a comment has at most {COMMENT_LIMIT} bytes: {comment!r}")


def comment_text(comment: str | None) -> str:
    """Return ` comment "…"`, or nothing for None."""
    return "" if comment is None else f' comment "{comment}"'


def block(*clauses: str) -> str:
    """Return ` { a; b; }` of the clauses that are not empty, or nothing."""
    kept = [clause for clause in clauses if clause]
    return f" {{ {'; '.join(kept)}; }}" if kept else ""


# What nft 1.0.1 and later reserve, everywhere or only after certain other words.
_WORDS: Final = """
a-rwnd abort accept ackseq add addr ah all and arp asconf asconf-ack auto-merge avgpkt bridge burst bypass bytes cfi
cgroup cgroupv2 chain chains check checksum chunk classid code comment comp constant continue cookie-ack cookie-echo
count counter counters cpi cpu create csumcov ct cum-tsn-ack cwr daddr data day dccp define dei delete describe
destroy device devices direction dnat doff dport drop dscp dst dup dynamic echo ecn ecne element elements eol eq
error esp ether event exists expectation expiration expires export exthdr fanout fastopen fib flags flow flowlabel
flowtable flowtables flush forward-tsn frag frag-off fully-random fwd gateway gc-interval ge geneve get goto gre
gretap group gt handle hbh hdrlength heartbeat heartbeat-ack helper helpers hlen hook hooks hoplimit hour htype
ibriport ibrname icmp icmpv6 icmpx id igmp iif iifgroup iifname iiftype import in inc include index inet init
init-ack init-tag initial-tsn insert interval ip ip6 ipsec jhash json jump l3proto label last last-entry le left
length level limit limits list ll log lowest-tsn lshift lsrr lt map maps mark masquerade max-delay maxseg md5sig
memory meta meter meters mh minute missing mod monitor more-fragments mptcp mrt mss mtu name ne netdev never
new-cum-tsn nexthdr nexthop nftrace nh noop nop not notrack num num-dup-tsns num-gap-ack-blocks num-inbound-streams
num-outbound-streams numgen obriport obrname offload offset oif oifgroup oifname oiftype operation option options or
original osf out over packets param-problem pcp performance persistent pkttype plen policy port position ppid prefix
priority proto-dst proto-src protocol ptr ptype queue queue-threshold quota quotas ra random rate redefine redirect
reject rename replace reply reqid reserved reserved2 reset return right rr rshift rt rt0 rt2 rtclassid rule rules
ruleset sack sack-perm sack-permitted sack0 sack1 sack2 sack3 saddr sctp second secmark secmarks seed seg-left seqno
sequence set sets shutdown shutdown-ack shutdown-complete sid size skgid skuid snaplen snat socket spi spnum sport
srh ssn ssrr state status stream subtype symhash synproxy synproxys table tables taddr tag tcp th time timeout
timestamp to tos tproxy trace transparent tsecr tsn tsval ttl tunnel tunnels type typeof udp udplite undefine until
update urgptr used value version vlan vm vmap vni vtag vxlan week wildcard window with wscale xml xor xt zone
"""

KEYWORDS: Final = frozenset(_WORDS.split())
"""All of them; nft refuses some as names, and which ones depends on its version."""
