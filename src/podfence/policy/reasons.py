# SPDX-License-Identifier: Apache-2.0
"""Why: the reason for one direction of one connection on one port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.policy.deciding import deciding
from podfence.policy.ends import End, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.extent import Extent, extent
from podfence.policy.grants import rules_of
from podfence.policy.options import describe
from podfence.policy.references import has_idle_rules, is_by_default, policy_ref, rule_ref
from podfence.policy.tiers import Action
from podfence.policy.unknown import RULES, option
from podfence.policy.verdict import Decision, Direction, Matter, Reason, RuleRef, Tier
from podfence.policy.wording import Wanted, end_name, match_text, shortened
from podfence.sets import PortSet
from podfence.sets.ports import OTHER_POINT

if TYPE_CHECKING:
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy
    from podfence.policy.ruling import Admission, Ruling
    from podfence.policy.verdict import Dependency

_EXEMPTIONS = {
    "7.1": "source and destination are the same pod; a pod always reaches itself",
    "7.2": "{subject} reaches itself through its Service",
    "7.3": "{subject} runs on this node; a pod is always reached from its own node",
    "7.4": "{subject} runs on this node; egress to the own node is exempt",
}
_DENYING = {
    "hairpin": "policy",
    "own_node_egress": "policy",
    "icmp": "denied",
    "ip_block_pods": "never",
    "ip_block_nodes": "never",
}
_EXEMPTING_OPTION = {"7.1": "self-traffic", "7.2": "hairpin", "7.4": "own-node-egress"}


def reason(
    engine: Engine,
    direction: Direction,
    source: End,
    destination: End,
    point: int,
    *,
    alone: bool = True,
    mend: PortSet | None = None,
    decided: Extent | None = None,
) -> Reason:
    """Return why a direction decides as it does for one port (a point as in `podfence.sets.ports`).

    `alone` is False when the port stands for others that are decided alike. `mend` are the ports for which changes
    are sought that would admit a denied connection; None seeks none. `decided` is the decision to give the reason of,
    for both directions together, if it is made; it rests on something only if it is about this port alone.
    """
    subject, peer = direction.ordered(source, destination)
    if not isinstance(subject, PodEnd):
        return _by_default(direction, f"no policy applies ({end_name(subject)} is not a pod)", "1.3")
    asked = PortSet(((point, point),))
    is_own = decided is None
    if decided is None:
        decided = extent(engine, source, destination, asked, (direction,))
    ruling = decided.rulings[direction]
    found = Extent(ruling.low, ruling.high)
    if found.decision(asked) is Decision.DEPENDS:
        is_told = is_own or (alone and decided.rests_on and point in decided.rulings[direction.other].low)
        found = decided if is_told else extent(engine, source, destination, asked, (direction,))
    if found.decision(asked) is Decision.DEPENDS and any(item.what is Matter.POLICIES for item in found.rests_on):
        read = reason(engine.as_read(), direction, source, destination, point, alone=alone)
        return _unless_unread(read, found.rests_on)
    side = _Side(engine, direction, subject, peer, point, ruling)
    match found.decision(asked):
        case Decision.ALLOWED:
            return side.allowed()
        case Decision.DEPENDS:
            return side.open(found.rests_on)
    denied = side.denied(alone=alone)
    return _mended(engine, denied, subject, peer, mend, ruling.policies) if mend else denied


def _unless_unread(read: Reason, rests_on: tuple[Dependency, ...]) -> Reason:
    """Return the reason that follows from what was read, as one that policies may turn which nobody has read."""
    return replace(
        read,
        decision=Decision.DEPENDS,
        summary=f"policies that were not read may decide otherwise; what was read says: {read.summary}",
        semantics=RULES[Matter.POLICIES],
        remedy="",
        remedies=(),
        depends_on=rests_on,
    )


def _mended(
    engine: Engine, denied: Reason, subject: PodEnd, peer: End, ports: PortSet, policies: tuple[CompiledPolicy, ...]
) -> Reason:
    """Return a reason with the changes that would admit the ports."""
    from podfence.policy.remedies import remedies  # noqa: PLC0415  few questions are about what is denied

    found = remedies(engine, denied.direction, subject, peer, ports, policies)
    return replace(denied, remedy=found[0].text, remedies=found) if found else denied


def _by_default(direction: Direction, summary: str, semantics: str, options: tuple[str, ...] = ()) -> Reason:
    return Reason(
        direction=direction,
        decision=Decision.ALLOWED,
        tier=Tier.DEFAULT,
        summary=summary,
        semantics=semantics,
        options=options,
    )


class _Side(Struct, frozen=True):
    """One direction of a connection on one port, and how it was decided."""

    engine: Engine
    direction: Direction
    subject: PodEnd
    peer: End
    point: int
    ruling: Ruling

    def allowed(self) -> Reason:
        ruling, who = self.ruling, end_name(self.subject)
        exemption = ruling.exemption
        if exemption:
            option = _EXEMPTING_OPTION.get(exemption)
            summary = f"allowed ({_EXEMPTIONS[exemption].format(subject=who)})"
            return _by_default(self.direction, summary, exemption, (option,) if option else ())
        decisive = ruling.decisive(self.point)
        if decisive is not None:
            return self._by_clusterwide(*decisive)
        if not ruling.policies:
            return _by_default(self.direction, f"allowed by default (no policy selects {who})", "2.1")
        in_any_case = ""
        admitting = ruling.admitting(self.point, surely=True)
        if admitting is None and self.point != OTHER_POINT:
            # Several rules admit it together, one or another of them whatever is not known.
            admitting = ruling.admitting(self.point, surely=False)
            in_any_case = ", or else by another rule, whatever is not known"
        rule, match = self._rule_of(admitting)
        summary = f"allowed by {rule}{in_any_case}" if rule else "allowed (ICMP is always admitted)"
        return Reason(
            direction=self.direction,
            decision=Decision.ALLOWED,
            tier=Tier.NETWORK_POLICY,
            summary=summary,
            semantics="2.2" if rule else "7.12",
            policies=tuple(policy_ref(policy) for policy in ruling.policies),
            rule=rule,
            match=match,
            options=self._options(),
        )

    def open(self, rests_on: tuple[Dependency, ...]) -> Reason:
        tier = self.ruling.isolation
        rule, match = self._rule_of(self.ruling.admitting(self.point, surely=False))
        options = self._left_open(otherwise=not rests_on)
        written = tuple(name.replace("_", "-") for name in options)
        at_node = any(item.what is Matter.NODE for item in rests_on)
        what = "whether that is this node" if at_node else "that"
        whys = [f"{what} depends on {' and '.join(item.text for item in rests_on)}"] if rests_on else []
        whys += [f"Kubernetes does not say, and option {', '.join(written)} is set to depends"] if written else []
        if at_node:
            way = "from" if self.direction is Direction.INGRESS else "to"
            through = f"always allowed {way} the pod's own node: "
        elif tier.maybe and not tier.sure:
            through = f"{', '.join(str(policy_ref(policy)) for policy in tier.maybe)} may isolate it: "
        else:
            through = f"{rule} may admit it: " if rule else ""
        return Reason(
            direction=self.direction,
            decision=Decision.DEPENDS,
            tier=Tier.NETWORK_POLICY,
            summary=f"{through}{'; '.join(whys)}",
            semantics=RULES[rests_on[0].what] if rests_on else describe()[options[0]].rule,
            policies=tuple(policy_ref(policy) for policy in tier.sure),
            rule=rule,
            match=match,
            options=written,
            depends_on=(*rests_on, *map(option, written)),
        )

    def denied(self, *, alone: bool) -> Reason:
        """Return why it is denied; not `alone` if the port stands for others."""
        from podfence.policy.misses import nearest_miss  # noqa: PLC0415  few questions are about what is denied

        decisive = self.ruling.decisive(self.point)
        if decisive is not None:
            return self._by_clusterwide(*decisive)
        policies, direction = self.ruling.policies, self.direction
        refs = tuple(policy_ref(policy) for policy in policies)
        wanted = Wanted(self.point, alone=alone)
        nearest = nearest_miss(self.engine, direction, self.subject, self.peer, wanted, self.ruling)
        names = shortened([str(ref) for ref in refs])
        verb = "isolates" if len(refs) == 1 else "isolate"
        refused = [f"{ref} {policy.refused}" for ref, policy in zip(refs, policies, strict=True) if policy.refused]
        if refused and nearest is None:
            summary = f"{names} {verb} the pod; {'; '.join(refused)}"
        elif nearest is None:
            summary = f"{names} {verb} the pod and {'has' if len(refs) == 1 else 'have'} no {direction} rule"
        else:
            short = f"rule {nearest.rule.index + 1}"
            if len(refs) > 1:
                short += f" of {nearest.rule.policy.name}"
            near = f"{short} admits {nearest.admits}, but {nearest.gap}"
            summary = f"{names} {verb} the pod, no rule admits the connection; nearest: {near}"
            summary = "; ".join([summary, *refused])
        left_out = [policy.key.name for policy in policies if is_by_default(policy, direction)]
        if left_out:
            summary += (
                f"; policyTypes is left out of {shortened(left_out)}, which makes it a policy for Ingress too (2.3)"
            )
        idle = [policy.key.name for policy in policies if has_idle_rules(policy, direction.other)]
        if idle:
            other = f"{direction.other}, so the {direction.other} rules have no effect (2.4)"
            summary += f"; policyTypes of {shortened(idle)} leaves out {other}"
        return Reason(
            direction=direction,
            decision=Decision.DENIED,
            tier=Tier.NETWORK_POLICY,
            summary=summary,
            semantics="2.8" if refused and nearest is None else "2.3" if left_out else "2.2",
            policies=refs,
            nearest=nearest,
            options=self._options(),
        )

    def _by_clusterwide(self, tier: Tier, admission: Admission) -> Reason:
        """Return the reason where the rule of a cluster-wide policy decides (semantics 11.2)."""
        is_allowed = admission.grant.action is Action.ALLOW
        rule, _ = self._rule_of(admission)
        return Reason(
            direction=self.direction,
            decision=Decision.ALLOWED if is_allowed else Decision.DENIED,
            tier=tier,
            summary=f"{'allowed' if is_allowed else 'denied'} by {rule}",
            semantics="11.2",
            rule=rule,
        )

    def _rule_of(self, admitting: Admission | None) -> tuple[RuleRef | None, str]:
        """Return the rule that admits, if one does, and which item of its peers that is."""
        if admitting is None:
            return None, ""
        policy, rule, item = admitting.policy, admitting.grant.rule, admitting.item
        rules = rules_of(policy.source, self.direction)
        match = match_text(rules[rule], item, self.direction, policy.key.namespace) if rules else ""
        return rule_ref(policy, self.direction, rule, item), match

    def _options(self) -> tuple[str, ...]:
        return deciding(self.engine, self.direction, self.subject, self.peer, self.point, self.ruling)

    def _left_open(self, *, otherwise: bool) -> tuple[str, ...]:
        """Return the options left open without whose help nothing would admit the connection.

        If any one does these are all of them, or none where something else leaves it open (not `otherwise`).
        """
        given = self.engine.options
        left_open = tuple(name for name in _DENYING if getattr(given, name) == "depends")
        source, destination = self.direction.ordered(self.subject, self.peer)
        needed = []
        for name in left_open:
            settled = self.engine.with_options(given.with_value(name, _DENYING[name]))
            if self.point not in settled.admitted(self.direction, source, destination, Bound.OPTIMISTIC):
                needed.append(name)
        return tuple(needed) or (left_open if otherwise else ())
