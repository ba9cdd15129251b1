"""Who is who: how the ids that events carry make customers, and when two customers turn out to be one person.

The rules give the same end for every order in which events come, but for the limit of merges:

- Each user id belongs to one customer. A trusted `alias(previousId, userId)` makes the customers of two user ids one;
  an untrusted one reads `previousId` as an anonymous id only.
- An anonymous id that came with a user id belongs to the customer of that user, with all its purely anonymous events.
  If it came with several users (a shared browser), it belongs to the earliest link and never makes the users one
  person. An untrusted link counts from its receipt, so that no browser can claim to have been first; what was said of
  the visitor is then no trusted word about the user.
- An anonymous id that came with nobody is a customer of its own, not identified yet.
- Nothing is ever linked or merged on a placeholder such as `undefined` or `guest` (domain/placeholders.py).
- A merge that would join more than `Brakes.limit` user ids is refused, in the order of routing: one constant in a
  shop's code must not make all its customers one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from domain.identities import Identity, IdKind, Key, Naming


@dataclass(frozen=True, slots=True)
class Merge:
    """`loser` turned out to be the same person as `survivor`, at this event."""

    event_id: UUID
    loser: UUID
    survivor: UUID


@dataclass(frozen=True, slots=True)
class Move:
    """An anonymous id that was known with one user earlier than with the one whose it was taken for."""

    event_id: UUID
    anonymous_id: str
    from_customer: UUID
    to_customer: UUID


class Refused(StrEnum):
    """Why two customers were not made one."""

    LIMIT = "merge_limit"  # more user ids than one person is believed to have
    PLACEHOLDER = "placeholder"  # one of the ids names nobody
    UNTRUSTED = "untrusted"  # a browser said so


@dataclass(frozen=True, slots=True)
class Refusal:
    """An alias of `previous_id` to `user_id`, a customer's, that was not followed."""

    event_id: UUID
    customer_id: UUID
    user_id: str
    previous_id: str
    reason: Refused


@dataclass(frozen=True, slots=True)
class Brakes:
    """How many user ids may be joined in one customer, and how many these customers have. Needed for aliases only."""

    limit: int = 5
    user_ids: Mapping[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whose event it is. `identified`: whether the customer had a user id once this event was taken in.

    `identifies`: this event is the first that tells who the anonymous visitor is. `link_trusted`: nobody but a browser
    says that this anonymous event is the customer's if false. `vouches`: this event is the trusted word that made the
    visitor's past the customer's.
    """

    customer_id: UUID
    identified: bool
    identifies: bool
    link_trusted: bool = True
    vouches: bool = False


@dataclass(slots=True)
class Resolution:
    """The outcome for a sequence of events. Customers in `attributions` are survivors of all merges."""

    identities: dict[Key, Identity] = field(default_factory=dict)
    changed: set[Key] = field(default_factory=set)
    created: set[UUID] = field(default_factory=set)
    merges: list[Merge] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    doubted: set[UUID] = field(default_factory=set)  # visitors of whom a browser says who they are
    relinked: set[tuple[str, UUID]] = field(
        default_factory=set
    )  # anonymous ids whose link changed its trust, and whose
    attributions: dict[UUID, Attribution] = field(default_factory=dict)
    involved: dict[UUID, frozenset[UUID]] = field(default_factory=dict)  # event -> customers that it reads or changes


def resolve(
    events: Iterable[Naming],
    known: Mapping[Key, Identity],
    identified: frozenset[UUID],
    new_id: Callable[[], UUID],
    brakes: Brakes = Brakes(),
) -> Resolution:
    """Whose each event is, in this order. `known` holds the ids named, `identified` the customers with a user id."""
    resolver = _Resolver(known, identified, new_id, brakes)
    for event in events:
        resolver.take(event)
    return resolver.finish()


class _Resolver:
    """Walks the events once, keeping the ids as they stand after each."""

    def __init__(
        self, known: Mapping[Key, Identity], identified: frozenset[UUID], new_id: Callable[[], UUID], brakes: Brakes
    ) -> None:
        self._ids = dict(known)
        self._limit = brakes.limit
        self._user_ids = dict(brakes.user_ids)
        self._identified = set(identified)
        self._new_id = new_id
        self._merged: dict[UUID, UUID] = {}
        self._vouching: set[UUID] = set()
        self._anonymous: dict[UUID, Key] = {}
        self._done = Resolution(identities=self._ids)

    def take(self, event: Naming) -> None:
        touched: set[UUID] = set()
        identifies = False
        if event.user_id is None:
            visitor = Key(IdKind.ANONYMOUS, str(event.anonymous_id))
            self._anonymous[event.event_id] = visitor
            customer = self._owner(visitor, event)
        else:
            user = Key(IdKind.USER, event.user_id)
            if event.anonymous_id is not None:
                identifies |= self._link(Key(IdKind.ANONYMOUS, event.anonymous_id), user, event, touched)
            if event.is_alias:
                identifies |= self._alias(str(event.previous_id), user, event, touched)
            customer = self._user(user, event)
            if event.previous_id not in (None, event.user_id) and not event.is_alias:
                self._refuse(event, customer, Refused.PLACEHOLDER)
        touched.add(customer)
        self._done.involved[event.event_id] = frozenset(touched)
        self._done.attributions[event.event_id] = Attribution(
            customer, customer in self._identified, identifies, vouches=event.event_id in self._vouching
        )

    def finish(self) -> Resolution:
        """Later events may have merged customers, or moved an anonymous id with all that its visitor did."""
        done = self._done
        for event_id, visitor in self._anonymous.items():
            link = self._ids[visitor]
            if done.moves or not link.link_trusted:
                before = done.attributions[event_id]
                done.attributions[event_id] = replace(
                    before, customer_id=link.customer_id, link_trusted=link.link_trusted
                )
        if self._merged:
            for event_id, attribution in done.attributions.items():
                survivor = self._survivor(attribution.customer_id)
                done.attributions[event_id] = replace(attribution, customer_id=survivor)
        moves = [
            replace(
                move, from_customer=self._survivor(move.from_customer), to_customer=self._survivor(move.to_customer)
            )
            for move in done.moves
        ]
        done.moves = [move for move in moves if move.from_customer != move.to_customer]
        done.relinked = {(value, self._survivor(customer)) for value, customer in done.relinked}
        done.refusals = [replace(each, customer_id=self._survivor(each.customer_id)) for each in done.refusals]
        return done

    def _user(self, user: Key, event: Naming) -> UUID:
        customer = self._owner(user, event)
        self._identified.add(customer)
        return customer

    def _owner(self, key: Key, event: Naming) -> UUID:
        """The customer of an id; a new one for an id never seen."""
        identity = self._ids.get(key)
        if identity is None:
            customer = self._new_id()
            self._done.created.add(customer)
            self._write(key, Identity(customer, event.stamp.timestamp))
            return customer
        if event.stamp.timestamp < identity.first_seen:
            self._write(key, replace(identity, first_seen=event.stamp.timestamp))
        return self._survivor(identity.customer_id)

    def _link(self, anonymous: Key, user: Key, event: Naming, touched: set[UUID]) -> bool:
        """An anonymous id came with a user. Answers whether this told who the visitor is."""
        before = self._ids.get(anonymous)
        if before is None:
            customer = self._user(user, event)
            link = Identity(customer, event.stamp.timestamp, linked=event.stamp, link_trusted=event.trusted)
            self._write(anonymous, link)
            return False
        owner = self._owner(anonymous, event)
        if before.linked is not None and before.linked <= event.stamp:
            self._confirm(anonymous, user, event)
            return False
        is_visitor = before.linked is None and owner not in self._identified
        if is_visitor and user not in self._ids:
            self._write(user, Identity(owner, event.stamp.timestamp))
        customer = self._user(user, event)
        touched |= {owner, customer}
        if is_visitor:
            if not event.trusted:
                self._done.doubted.add(owner)
            customer = self._join(owner, customer, event)
        elif owner != customer:
            self._done.moves.append(Move(event.event_id, anonymous.value, owner, customer))
        elif event.trusted and not before.link_trusted:
            self._done.relinked.add((anonymous.value, customer))
        is_confirmed = before.linked is not None and owner == customer and before.link_trusted
        if event.trusted and not is_confirmed:
            self._vouching.add(event.event_id)
        is_trusted = event.trusted or is_confirmed
        self._write(
            anonymous,
            replace(self._ids[anonymous], customer_id=customer, linked=event.stamp, link_trusted=is_trusted),
        )
        return is_visitor

    def _confirm(self, anonymous: Key, user: Key, event: Naming) -> None:
        """A trusted source says later what only a browser said before."""
        link, known = self._ids[anonymous], self._ids.get(user)
        if not event.trusted or link.link_trusted or known is None:
            return
        customer = self._survivor(link.customer_id)
        if self._survivor(known.customer_id) == customer:
            self._write(anonymous, replace(link, link_trusted=True))
            self._done.relinked.add((anonymous.value, customer))
            self._vouching.add(event.event_id)

    def _alias(self, previous: str, user: Key, event: Naming, touched: set[UUID]) -> bool:
        """`previous` is another id of this user: a user id is the same person, an anonymous id is a link."""
        if event.joins:
            self._join_users(Key(IdKind.USER, previous), user, event, touched)
        identifies = self._link(Key(IdKind.ANONYMOUS, previous), user, event, touched)
        if not event.joins:
            self._refuse(event, self._user(user, event), Refused.UNTRUSTED)
        return identifies

    def _join_users(self, old: Key, user: Key, event: Naming, touched: set[UUID]) -> None:
        customer = self._user(user, event)
        other = self._user(old, event) if old in self._ids else None
        touched |= {customer, other or customer}
        if other == customer:
            self._write(old, replace(self._ids[old], superseded=True))
        elif not event.asked and self._count(customer) + (self._count(other) if other else 1) > self._limit:
            self._refuse(event, customer, Refused.LIMIT)
        elif other is None:
            self._write(old, Identity(customer, event.stamp.timestamp, superseded=True))
        else:
            self._join(other, customer, event)
            self._write(old, replace(self._ids[old], superseded=True))

    def _count(self, customer: UUID) -> int:
        """How many user ids a customer has by now."""
        return self._user_ids.get(customer, 0)

    def _refuse(self, event: Naming, customer: UUID, reason: Refused) -> None:
        refusal = Refusal(event.event_id, customer, str(event.user_id), str(event.previous_id), reason)
        self._done.refusals.append(refusal)

    def _join(self, one: UUID, other: UUID, event: Naming) -> UUID:
        """Make two customers one: the identified one stays, then the older (ids are made in order of time)."""
        if one == other:
            return one
        survivor, loser = sorted((one, other), key=lambda customer: (customer not in self._identified, customer))
        self._merged[loser] = survivor
        self._user_ids[survivor] = self._count(survivor) + self._count(loser)
        self._identified.add(survivor)
        self._done.merges.append(Merge(event.event_id, loser, survivor))
        return survivor

    def _survivor(self, customer: UUID) -> UUID:
        while customer in self._merged:
            customer = self._merged[customer]
        return customer

    def _write(self, key: Key, identity: Identity) -> None:
        before = self._ids.get(key)
        if before != identity:
            if before is None and key.kind is IdKind.USER:
                self._user_ids[identity.customer_id] = self._count(identity.customer_id) + 1
            self._ids[key] = identity
            self._done.changed.add(key)
