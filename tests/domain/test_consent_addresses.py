"""Which address a consent belongs to: one fold, the same for any order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.addresses import canonical_address, spellings_of
from domain.consent import Addressee, ConsentSource, ConsentState, Order, Permission, StandingConsent, permission
from domain.consent_addresses import Fact, Joined, Named, Said, address_consents

START = datetime(2026, 6, 1, tzinfo=UTC)
HOME, WORK, THIEF = b"home", b"work", b"thief"


def at(minute: int) -> Order:
    moment = START + timedelta(minutes=minute)
    return moment, moment, UUID(int=minute)


def named(minute: int, address: bytes | None, *, trusted: bool = True, who: str | None = "ann") -> Named:
    return Named(at(minute), who, "email", address, trusted)


def said(
    minute: int, state: str, *, address: bytes | None = None, who: str | None = "ann", purpose: str = "marketing"
) -> Said:
    moment = at(minute)
    consent = StandingConsent(purpose, "email", state, moment[0], ConsentSource.API, moment, address)
    return Said(UUID(int=minute), who, consent, is_given=address is not None)


def permitted(facts: Sequence[Fact], to: bytes, others: Sequence[StandingConsent] = ()) -> Permission:
    """What the gate would say about an address, with the copies of what moved."""
    done = address_consents(facts, others)
    records = []
    for fact in facts:
        if isinstance(fact, Said):
            one = fact.consent
            belongs = [done.addresses[fact.id], *(move.address for move in done.moves if move.grant == fact.id)]
            records += [
                StandingConsent(one.purpose, one.channel, one.state, one.at, one.source, one.order, address)
                for address in belongs
            ]
    others = [each for each in others if each.address == to]
    return permission([*records, *others], "marketing", "email", {}, Addressee(to, is_confirmed=True))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_grant_is_for_the_address_of_its_moment(trusted: bool) -> None:
    facts: list[Fact] = [named(1, HOME, trusted=trusted), said(2, "subscribed"), named(3, THIEF, trusted=False)]

    assert permitted(facts, HOME) is Permission.GIVEN
    assert permitted(facts, THIEF) is Permission.NEVER_GIVEN


def test_a_late_statement_gives_a_grant_the_address_that_was_present() -> None:
    facts: list[Fact] = [named(1, HOME), said(5, "subscribed"), named(3, WORK)]

    assert permitted(facts, WORK) is Permission.GIVEN
    assert permitted(facts, HOME) is Permission.NEVER_GIVEN


def test_a_topic_that_was_subscribed_to_before_marketing_was_withdrawn_does_not_come_back_by_moving() -> None:
    facts: list[Fact] = [
        *(named(1, HOME), said(2, "subscribed", purpose="news"), said(3, "subscribed")),
        *(said(4, "unsubscribed"), named(5, WORK)),
    ]

    assert permitted(facts, WORK) is Permission.WITHDRAWN
    assert address_consents(facts).moves == []


def test_what_somebody_else_took_back_for_the_mailbox_does_not_move() -> None:
    facts: list[Fact] = [named(1, HOME), said(2, "subscribed"), named(4, WORK)]
    by_another = StandingConsent("marketing", "email", "unsubscribed", at(3)[0], "one-click", at(3), HOME)

    assert permitted(facts, WORK) is Permission.GIVEN
    assert permitted(facts, WORK, [by_another]) is Permission.NEVER_GIVEN


def test_a_change_after_a_merge_moves_what_stood_for_the_address_that_came_first() -> None:
    merged: list[Fact] = [
        *(named(1, HOME), said(2, "subscribed"), named(3, WORK, who="bob"), Joined(at(4), "ann", "bob")),
        named(6, THIEF),
    ]

    assert permitted(merged, THIEF) is Permission.NEVER_GIVEN
    assert permitted([*merged, said(5, "subscribed")], THIEF) is Permission.GIVEN


STRANGER: list[Fact] = [named(1, HOME), said(2, "unsubscribed"), named(3, WORK, who="bob")]
MERGED: list[Fact] = [Joined(at(6), "ann", "bob"), named(7, HOME)]


@pytest.mark.parametrize("facts", [STRANGER, STRANGER[:2]])
def test_a_yes_that_a_stranger_gave_for_a_mailbox_does_not_outweigh_its_owners_no_after_a_merge(
    facts: list[Fact],
) -> None:
    merged = [*facts, said(5, "subscribed", address=HOME, who="bob"), *MERGED]

    assert permitted(merged, HOME) is Permission.WITHDRAWN
    assert permitted([*merged, said(9, "subscribed")], HOME) is Permission.GIVEN  # her own act


@pytest.mark.parametrize("had_another", [True, False])
def test_a_yes_for_a_mailbox_that_somebody_else_had_silenced_counts_for_whose_own_it_was(had_another: bool) -> None:
    no = StandingConsent("marketing", "email", "unsubscribed", at(2)[0], "one-click", at(2), HOME)
    before: list[Fact] = [named(3, WORK)] if had_another else []
    facts = [*before, said(4, "subscribed", address=HOME), named(5, HOME)]

    assert permitted(facts, HOME, [no]) is (Permission.WITHDRAWN if had_another else Permission.GIVEN)
    assert permitted([named(3, HOME), *facts[-2:]], HOME, [no]) is Permission.GIVEN
    assert permitted(facts, HOME) is Permission.GIVEN


facts_of_two = st.lists(
    st.one_of(
        st.tuples(st.just("named"), st.sampled_from([HOME, WORK, THIEF, None]), st.booleans()),
        st.tuples(st.just("said"), st.sampled_from(list(ConsentState)), st.sampled_from([None, HOME, WORK])),
        st.tuples(st.just("joined"), st.just(None), st.just(None)),
    ),
    max_size=12,
)


@given(facts_of_two, st.lists(st.sampled_from(["ann", "bob", None]), min_size=12, max_size=12), st.randoms())
def test_any_order_of_arrival_gives_the_same_permission(
    told: Sequence[tuple[str, bytes | ConsentState | None, bytes | bool | None]],
    people: Sequence[str | None],
    random: object,
) -> None:
    facts: list[Fact] = []
    for minute, ((kind, what, more), who) in enumerate(zip(told, people, strict=False), 1):
        if kind == "named" and not isinstance(what, ConsentState):
            facts.append(named(minute, what, trusted=bool(more), who=who))
        elif kind == "said" and isinstance(what, ConsentState):
            facts.append(said(minute, what, address=more if isinstance(more, bytes) else None, who=who))
        else:
            facts.append(Joined(at(minute), "ann", "bob"))
    shuffled = list(facts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's Random

    assert [permitted(shuffled, to) for to in (HOME, WORK, THIEF)] == [
        permitted(facts, to) for to in (HOME, WORK, THIEF)
    ]


@given(facts_of_two)
def test_untrusted_statements_alone_never_bring_consent_to_an_address(
    told: Sequence[tuple[str, bytes | ConsentState | None, bytes | bool | None]],
) -> None:
    """A thief's address that only browsers name is permitted by nothing that was said for another one."""
    facts: list[Fact] = [named(1, HOME)]
    for minute, (kind, what, more) in enumerate(told, 2):
        if kind == "named" and not isinstance(what, ConsentState):
            is_thief = what == THIEF
            facts.append(named(minute, what or WORK, trusted=bool(more) and not is_thief))
        elif kind == "said" and isinstance(what, ConsentState):
            facts.append(said(minute, what, address=more if isinstance(more, bytes) else None))

    assert permitted(facts, THIEF) is not Permission.GIVEN


def test_an_address_has_one_canonical_spelling() -> None:
    assert canonical_address("email", " Zoe@BÜCHER.example ") == canonical_address("email", "zoe@xn--bcher-kva.example")
    assert canonical_address("email", "faß@fass.example") != canonical_address("email", "fass@fass.example")
    assert canonical_address("email", "a+b@gmail.com") != canonical_address("email", "a@gmail.com")
    assert canonical_address("sms", "+49 (151) 234-5") == "+491512345"
    assert "zoe@bücher.example" in spellings_of("email", "zoe@xn--bcher-kva.example")


@pytest.mark.parametrize(("source", "kept"), [("one-click", "withdrawn"), ("complaint", "complained")])
@pytest.mark.parametrize("purpose", ["marketing", "offers"])
def test_a_request_after_a_withdrawal_leaves_the_withdrawal_as_the_reason(source: str, kept: str, purpose: str) -> None:
    no = StandingConsent("marketing", "email", "unsubscribed", at(1)[0], source, at(1), HOME)
    asked = StandingConsent(purpose, "email", "pending", at(2)[0], "event", at(2), HOME)
    yes = StandingConsent(purpose, "email", "subscribed", at(3)[0], "double-opt-in", at(3), HOME)
    to = Addressee(HOME, is_confirmed=True)

    assert permission([no, asked], purpose, "email", {}, to) == kept
    assert permission([no, asked, yes], purpose, "email", {}, to) == "given"
    assert permission([asked], purpose, "email", {}, to) == "never_given"
