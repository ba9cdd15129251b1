"""Which address each consent belongs to, folded from what was said about consent, addresses and who is who.

The same for any order of arrival: the fold walks everything in the order in which it happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from domain.consent import (
    EVERY_CHANNEL,
    MARKETING,
    ConsentSource,
    ConsentState,
    Order,
    StandingConsent,
    addressed_channel,
    decisive,
)

_VISITOR: Final = ""
"""Whoever has no user id yet: the same person as the first user id that turns up."""


@dataclass(frozen=True, slots=True)
class Named:
    """An event that says what a customer's address is (None: that there is none any more)."""

    order: Order
    who: str | None  # the user id
    channel: str
    address: bytes | None
    trusted: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """A trusted alias: from now on both user ids are one person."""

    order: Order
    who: str | None
    other: str


@dataclass(frozen=True, slots=True)
class Said:
    """A consent record. `address` where `is_given` says that the record itself named it.

    A withdrawal that is not `trusted` is the person's, and that of an address only if a trusted source had said before
    that it is theirs: anybody can post it in anybody's name.
    """

    id: UUID
    who: str | None
    consent: StandingConsent
    is_given: bool
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """A grant (the record's id) that followed to another address, at the event that changed it."""

    grant: UUID
    address: bytes
    order: Order


@dataclass(slots=True)
class Addressed:
    """The outcome: each record's address, the grants that moved, and the withdrawals that named a strange address.

    A grant for a strange address that its reader had withdrawn has none, so it permits nothing.
    """

    addresses: dict[UUID, bytes | None] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    strange: set[UUID] = field(default_factory=set)


Fact = Named | Joined | Said


def address_consents(
    facts: Iterable[Fact], others: Collection[StandingConsent] = (), trusted: Mapping[str, bytes] | None = None
) -> Addressed:
    """Fold one customer's facts. `others`: withdrawals by other people, with the addresses that they withdrew.

    `trusted`: the present addresses by channel that a trusted source set, for customers older than their events.
    """
    facts = sorted(facts, key=_order)
    named = {fact.channel for fact in facts if isinstance(fact, Named)}
    assumed = {channel: address for channel, address in (trusted or {}).items() if channel not in named}
    fold = _Fold(others, assumed)
    for fact in facts:
        fold.take(fact)
    fold.assume()
    return fold.done


def idle(records: Sequence[tuple[UUID, StandingConsent]], present: Mapping[str, bytes | None]) -> set[UUID]:
    """The records that say nothing about the present addresses: given for others, or asked of who had said yes."""
    quiet: set[UUID] = set()
    kinds = {(each.purpose, each.channel) for _, each in records}
    for kind in kinds:
        standing: ConsentState | None = None
        for id_, each in sorted(records, key=lambda pair: pair[1].order):
            if (each.purpose, each.channel) != kind:
                continue
            channel = addressed_channel(each.channel)
            is_elsewhere = channel in present and each.address != present[channel]
            is_asked = each.state == ConsentState.PENDING and standing == ConsentState.SUBSCRIBED
            is_void = each.is_statement and (standing is not None or _is_withdrawn(records, each))
            if each.state != ConsentState.UNSUBSCRIBED and (is_elsewhere or is_asked or is_void):
                quiet.add(id_)
            else:
                standing = ConsentState(each.state)
    return quiet


def _is_withdrawn(records: Iterable[tuple[UUID, StandingConsent]], statement: StandingConsent) -> bool:
    """Whether anything that a statement of standing speaks of had been withdrawn before, in whatever wider words."""
    return any(
        each.state == ConsentState.UNSUBSCRIBED
        and each.order < statement.order
        and each.purpose in (statement.purpose, MARKETING)
        and (statement.channel == EVERY_CHANNEL or each.channel in (statement.channel, EVERY_CHANNEL))
        for _, each in records
    )


def _order(fact: Fact) -> Order:
    return fact.consent.order if isinstance(fact, Said) else fact.order


@dataclass(slots=True)
class _Person:
    """What is known of one person at a moment."""

    names: set[str]
    present: dict[str, tuple[bool, Order, bytes | None]] = field(default_factory=dict)
    had: dict[tuple[str, bytes | None], bool] = field(default_factory=dict)  # addresses so far: whether trusted
    said: list[tuple[UUID, StandingConsent]] = field(default_factory=list)
    overruled: list[Said] = field(default_factory=list)  # until it is known whether the address is the person's


_ANSWERS: Final = frozenset({ConsentSource.DOUBLE_OPT_IN, ConsentSource.PREFERENCES})


class _Fold:
    """Walks the facts once, keeping the persons as they stand after each."""

    def __init__(self, others: Collection[StandingConsent], assumed: Mapping[str, bytes]) -> None:
        self.done = Addressed()
        self._others = others
        self._assumed = assumed
        self._persons: list[_Person] = []

    def take(self, fact: Fact) -> None:
        match fact:
            case Named():
                self._name(fact)
            case Joined():
                self._join(self._person(fact.who), self._person(fact.other))
            case Said():
                self._say(fact)

    def assume(self) -> None:
        """Where no event names an address, the present one counts if it is trusted."""
        for person in self._persons:
            for channel, address in self._assumed.items():
                self._settle(person, channel, address)

    def _person(self, who: str | None) -> _Person:
        name = who or _VISITOR
        for person in self._persons:
            if name in person.names:
                return person
        visitor = next((each for each in self._persons if each.names == {_VISITOR}), None)
        if name == _VISITOR and self._persons:
            self._persons[0].names.add(name)
            return self._persons[0]
        if visitor is not None:
            visitor.names.add(name)
            return visitor
        self._persons.append(_Person({name}))
        return self._persons[-1]

    def _join(self, one: _Person, other: _Person) -> None:
        """Whose address comes first is the merge's doing: nothing follows it."""
        if one is other:
            return
        one.names |= other.names
        for channel, present in other.present.items():
            one.present[channel] = max(one.present.get(channel, present), present, key=lambda each: each[:2])
        for had, trusted in other.had.items():
            one.had[had] = trusted or one.had.get(had, False)
        one.said = sorted(one.said + other.said, key=lambda pair: pair[1].order)
        one.overruled = []
        self._persons.remove(other)

    def _name(self, fact: Named) -> None:
        person = self._person(fact.who)
        had = (fact.channel, fact.address)
        # What a server says of a visitor is what the visitor has typed, and proves nothing about the mailbox.
        person.had[had] = (fact.trusted and fact.who is not None) or person.had.get(had, False)
        before = person.present.get(fact.channel)
        if before is not None and before[:2] > (fact.trusted, fact.order):
            return
        person.present[fact.channel] = (fact.trusted, fact.order, fact.address)
        if not fact.trusted or fact.address is None:
            return
        if before is not None and before[2] not in (None, fact.address):
            self._follow(person, fact, before[2], was_trusted=before[0])
        self._restore(person, fact)
        self._settle(person, fact.channel, fact.address)

    def _say(self, fact: Said) -> None:
        person = self._person(fact.who)
        address = fact.consent.address if fact.is_given else None
        if not fact.is_given:
            _, _, address = person.present.get(addressed_channel(fact.consent.channel), (False, None, None))
        if fact.consent.state == ConsentState.UNSUBSCRIBED and not fact.trusted and address is not None:
            address = self._reached(person, fact, address)
        if self._is_overruled(person, fact):
            self.done.addresses[fact.id] = None
        else:
            self._keep(person, fact.id, fact.consent, address)

    def _is_overruled(self, person: _Person, fact: Said) -> bool:
        """Whether a grant names an address that is not the person's own, and that somebody else had withdrawn.

        Whoever has no address yet may get this one next: then it was their own.
        """
        said, channel = fact.consent, addressed_channel(fact.consent.channel)
        if not fact.is_given or said.state != ConsentState.SUBSCRIBED or said.source in _ANSWERS:
            return False
        if said.address is None:  # overruled before, and its event is gone
            return True
        _, _, own = person.present.get(channel, (False, None, self._assumed.get(channel)))
        others = (each for other in self._persons if other is not person for _, each in other.said)
        if own == said.address or not any(_outweighs(each, said) for each in (*self._others, *others)):
            return False
        if own is None:
            person.overruled.append(fact)
        return True

    def _restore(self, person: _Person, fact: Named) -> None:
        """What was given for the address that its giver got next counts like any grant."""
        for each in [each for each in person.overruled if addressed_channel(each.consent.channel) == fact.channel]:
            person.overruled.remove(each)
            if each.consent.address == fact.address:
                self._keep(person, each.id, each.consent, fact.address)

    def _reached(self, person: _Person, fact: Said, address: bytes) -> bytes | None:
        """The address that an untrusted withdrawal is one of, besides being the person's."""
        channel = addressed_channel(fact.consent.channel)
        trusted = person.had.get((channel, address), True if self._assumed.get(channel) == address else None)
        if trusted is None:
            self.done.strange.add(fact.id)
        return address if trusted else None

    def _keep(self, person: _Person, id_: UUID, consent: StandingConsent, address: bytes | None) -> None:
        self.done.addresses[id_] = address
        person.said.append((id_, _with_address(consent, address)))

    def _settle(self, person: _Person, channel: str, address: bytes) -> None:
        """What was said before any address was known belongs to the first that a trusted source sets."""
        for position, (id_, consent) in enumerate(person.said):
            is_open = consent.address is None and consent.state != ConsentState.UNSUBSCRIBED
            if is_open and addressed_channel(consent.channel) == channel:
                self.done.addresses[id_] = address
                person.said[position] = (id_, _with_address(consent, address))

    def _follow(self, person: _Person, fact: Named, former: bytes | None, *, was_trusted: bool) -> None:
        """Copy the grants that stand for the former address. A copy keeps its grant's place in time.

        An answer from a mailbox that only a browser had named is that mailbox's, whoever reads it, and stays there.
        """
        known = {(id_, each.address) for id_, each in person.said}
        kinds = {(each.purpose, each.channel) for _, each in person.said}
        for purpose, channel in sorted(kinds):
            grant = self._standing(person, purpose, channel, former, fact.order)
            if addressed_channel(channel) != fact.channel or grant is None or (grant[0], fact.address) in known:
                continue
            if grant[1].source in _ANSWERS and not was_trusted:
                continue
            person.said.append((grant[0], _with_address(grant[1], fact.address)))
            if fact.address is not None:
                self.done.moves.append(Move(grant[0], fact.address, fact.order))

    def _standing(
        self, person: _Person, purpose: str, channel: str, address: bytes | None, by: Order
    ) -> tuple[UUID, StandingConsent] | None:
        """The grant for an address that nobody has taken back by then."""
        fitting = [
            (id_, each)
            for id_, each in person.said
            if each.channel == channel and (each.state == ConsentState.UNSUBSCRIBED or each.address == address)
        ]
        latest = decisive((each for _, each in fitting), purpose)
        if latest is None or latest.state != ConsentState.SUBSCRIBED:
            return None
        others = [each for each in self._others if each.address == address and each.order < by]
        taken_back = (
            (each.order > latest.order or latest.is_statement)
            and each.purpose in (purpose, MARKETING)
            and each.channel in (channel, EVERY_CHANNEL)
            for each in (*(each for _, each in person.said if each.state == ConsentState.UNSUBSCRIBED), *others)
        )
        return None if any(taken_back) else next((id_, each) for id_, each in fitting if each is latest)


def _outweighs(withdrawal: StandingConsent, grant: StandingConsent) -> bool:
    """Whether what somebody withdrew for an address before stands against a grant that a stranger gave for it."""
    return (
        withdrawal.state == ConsentState.UNSUBSCRIBED
        and withdrawal.address == grant.address
        and withdrawal.order < grant.order
        and withdrawal.purpose in (grant.purpose, MARKETING)
        and (grant.channel == EVERY_CHANNEL or withdrawal.channel in (grant.channel, EVERY_CHANNEL))
    )


def _with_address(consent: StandingConsent, address: bytes | None) -> StandingConsent:
    return replace(consent, address=address)
