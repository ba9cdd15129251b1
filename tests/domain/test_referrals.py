"""Who may refer whom, what a code is, and what is left of a qualifying order after refunds."""

from __future__ import annotations

from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.mailboxes import mailbox
from domain.phones import is_same_phone
from domain.referral_signals import (
    NETWORK_MANY,
    Evidence,
    SignalKind,
    Suspicion,
    Verdict,
    assess,
    is_similar_email,
    network_of,
    normal_ip,
)
from domain.referrals import (
    ClaimFacts,
    OrderFacts,
    Person,
    Reason,
    is_circular,
    personal_code,
    read_code,
    refusal_of,
    still_qualifies,
)
from domain.refunds import GivenBack

ANN, BOB, CID = (UUID(int=n) for n in range(1, 4))


def person(id_: UUID, email: str | None = None, phone: str | None = None) -> Person:
    return Person(id_, email, phone)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b+x@gmail.com", "ab@gmail.com"),
        ("A.B@GoogleMail.com", "ab+shop@gmail.com"),
        ("ann+friend@Example.com", "ann@example.com"),
        ("ann.lee@pm.me", "annlee@proton.me"),
        ("ann-lee+x@protonmail.com", "Ann_Lee@proton.me"),
        ("ann@me.com", "ann@icloud.com"),
        ("ann@mac.com", "ann+x@me.com"),
        ("friend@ann.fastmail.com", "ann+shop@fastmail.com"),
        ("friend@ann.fastmail.fm", "ann@fastmail.fm"),
        (" ann@example.com ", "ANN@EXAMPLE.COM"),
        ("ann@example.com.", "ann@example.com"),
        ('"ann"@example.com', "ann@example.com"),
        ('"a.n\\n+x"@gmail.com.', "ann@googlemail.com"),
        ("ann(the other one)@example.com", "Ann <ann@example.com>"),
        ("ann((the) other)@example.com", '"ann"(c)@example.com'),
        ("mailto:ann@example.com", "<@relay.example:ann@example.com>"),
        ("'ann@example.com'", "ann@example.com;"),
        ("a\u00adn\u200bn\ufe0f@exam\u2060ple.com", "ann@example.com"),
        ("\uff41\uff4e\uff4e\uff20example\u3002com", "ann@example.com"),
        ("ann@B\u00dcCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@bu\u0308cher.example", "ann@b\u00fccher.example"),
    ],
)
def test_two_addresses_of_one_mailbox_are_one_person(one: str, other: str) -> None:
    """Self-referral through a second account: Smile 4036291, LoyaltyLion `invalid_referee`."""
    assert person(ANN, one).is_same_as(person(BOB, other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@example.com", "ann@example.org"),
        ("a.b@example.com", "ab@example.com"),
        ("a.b@icloud.com", "ab@icloud.com"),
        ("ann@fastmail.com", "ann@fastmail.fm"),
        ("ann@outlook.com", "ann@hotmail.com"),
        ("bob@ann.example.com", "cid@ann.example.com"),
        ("ann@stra\u00dfe.example", "ann@strasse.example"),
        ("\u0430nn@example.com", "ann@example.com"),  # a Cyrillic letter makes another mailbox
        ("@example.com", "@example.com"),
        (None, None),
        ("", ""),
    ],
)
def test_other_mailboxes_and_unknown_ones_are_not(one: str | None, other: str | None) -> None:
    assert not person(ANN, one).is_same_as(person(BOB, other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+49 170 1234567", "0049 (170) 123-4567"),
        ("+49 170 1234567", "0170 1234567"),
        ("0170/1234567", "0170 123 45 67"),
        ("+49 (0)170 1234567", "+49 170 1234567"),
        ("+49 170 1234567", "491701234567"),
        ("\uff0b\uff14\uff19 170 1234567", "0170 1234567"),
        ("+49\u200b1701234567", "+491701234567"),
        ("\u0660\u0661\u0667\u0660 1234567", "0170 1234567"),
        ("tel:+49-170-1234567;ext=7", "0170 1234567"),
        ("tel:170-1234567;phone-context=+49", "0170 1234567"),
        ("+49 170 1234567 (mobile)", "0170 1234567"),
        ("+1 650 253 0000", "011 1 650 253 0000"),
        ("+1 650 253 0000", "(650) 253-0000 ext. 5"),
        ("+44 7911 123456", "07911 123456"),
        ("+39 06 1234 5678", "0612345678"),
        ("+54 9 11 2345 6789", "+54 11 15 2345 6789"),
    ],
)
def test_a_phone_number_is_one_however_it_is_written(one: str, other: str) -> None:
    assert person(ANN, phone=one).is_same_as(person(BOB, phone=other))
    assert person(BOB, phone=other).is_same_as(person(ANN, phone=one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+491701234567", "+431701234567"),
        ("+49 170 1234567", "+49 171 1234567"),
        ("+1 650 253 0000", "253 0000"),
        ("12345", "12345"),
        ("000 000 0000", "000 000 0000"),
        ("not provided", "not provided"),
        ("", None),
    ],
)
def test_other_numbers_and_what_is_none_are_not(one: str, other: str | None) -> None:
    assert not person(ANN, phone=one).is_same_as(person(BOB, phone=other))


@given(st.emails() | st.from_regex(r"[^@]{1,20}@[^@]{1,20}", fullmatch=True))
def test_a_mailbox_is_its_own_mailbox(address: str) -> None:
    found = mailbox(address)
    assert mailbox(found) == found


UNSEEN = st.text(alphabet="\u00ad\u034f\u200b\u200d\u2060\ufe0f\ufeff\U000e0100 ", max_size=3)
LOCAL = st.text(alphabet="abcxyz0189-_", min_size=1, max_size=10)
DOMAIN = st.sampled_from(["example.com", "b\u00fccher.example", "gmail.com", "\u0434\u043e\u043c.example"])


@given(LOCAL, DOMAIN, st.data())
def test_no_way_of_writing_an_address_makes_another_person(local: str, domain: str, data: st.DataObject) -> None:
    """Case, width, quotes, tags, comments, invisible characters, the network's spelling and a final dot."""
    name = data.draw(st.sampled_from([local, local.upper(), f'"{local}"', f"{local}+{local}", f"{local}(friend)"]))
    host = data.draw(st.sampled_from([domain, domain.upper(), domain.encode("idna").decode(), f"{domain}."]))
    wide = {ord(each): ord(each) + 0xFEE0 for each in "abcxyz0189"}
    written = "".join(data.draw(UNSEEN) + each for each in f"{name}@{host}")
    for other in (written, written.translate(wide) if "xn--" not in host else written):
        assert person(ANN, other).is_same_as(person(BOB, f"{local}@{domain}"))


SEPARATORS = st.sampled_from(["", " ", "-", ".", "/", "\u00a0", "\u200b", "\u2011"])


@given(st.integers(1_510_000_000, 1_799_999_999), st.data())
def test_no_way_of_writing_a_number_makes_another_person(national: int, data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(["+49", "0049", "+49(0)", "\uff0b49", "0", "tel:+49", "+490"]))
    end = data.draw(st.sampled_from(["", " ext. 12", ";ext=3", " x7"]))
    written = start + "".join(data.draw(SEPARATORS) + digit for digit in str(national)) + end
    assert is_same_phone(written, f"+49{national}")
    assert not is_same_phone(written, f"+49{national + 1}")


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_stands_for_a_number_is_read_alike_from_both_sides(one: str, other: str) -> None:
    assert is_same_phone(one, other) == is_same_phone(other, one)


def test_a_code_follows_the_customer_and_is_read_as_people_type_it() -> None:
    code = personal_code(ANN)
    assert code == personal_code(ANN) != personal_code(ANN, 1)
    assert len(code) == 8
    assert read_code(f" {code[:4].lower()}-{code[4:]} ") == code
    assert read_code("oil") == "011"


def test_codes_of_different_customers_differ() -> None:
    assert len({personal_code(uuid4()) for _ in range(2_000)}) == 2_000


FINE = ClaimFacts(
    person(ANN, "ann@example.com"),
    person(BOB, "bob@example.com"),
    has_ordered=False,
    was_referred=False,
    chain=frozenset({ANN}),
)


def test_a_new_customer_may_be_referred_once_and_never_upwards() -> None:
    def facts(**changes: object) -> ClaimFacts:
        return ClaimFacts(**{**{name: getattr(FINE, name) for name in FINE.__slots__}, **changes})

    assert refusal_of(FINE) is None
    assert refusal_of(facts(referee=person(ANN))) is Reason.SELF_REFERRAL
    assert refusal_of(facts(has_ordered=True)) is Reason.EXISTING_CUSTOMER
    assert refusal_of(facts(was_referred=True)) is Reason.ALREADY_REFERRED
    assert refusal_of(facts(chain=frozenset({ANN, CID, BOB}))) is Reason.CIRCULAR_REFERRAL


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_claims_that_look_up_the_chain_never_make_a_ring(pairs: list[tuple[int, int]]) -> None:
    """Loop A to B to A, chain farms: no system read for reference/loyalty.md 4.3 checks for them."""
    referrers: dict[UUID, UUID] = {}
    for referrer, referee in ((UUID(int=a + 1), UUID(int=b + 1)) for a, b in pairs):
        chain, at = {referrer}, referrer
        while at in referrers:
            at = referrers[at]
            chain.add(at)
        facts = ClaimFacts(
            Person(referrer),
            Person(referee),
            has_ordered=False,
            was_referred=referee in referrers,
            chain=frozenset(chain),
        )
        if refusal_of(facts) is None:
            referrers[referee] = referrer
    assert not any(is_circular(referrers, each) for each in referrers)


def over_thirty(properties: object) -> bool:
    return isinstance(properties, dict) and properties["subtotal"] >= 30


@pytest.mark.parametrize(
    ("refunded", "qualifies"), [(0, True), (1_000, True), (2_000, True), (2_001, False), (4_999, False)]
)
def test_an_order_qualifies_while_what_is_left_of_it_does(refunded: int, qualifies: bool) -> None:
    order = OrderFacts("EUR", GivenBack(refunded, Fraction(refunded, 5_000)))
    assert still_qualifies({"subtotal": 50.0, "order_id": "1"}, order, over_thirty) is qualifies


def test_an_order_that_is_gone_never_qualifies() -> None:
    assert not still_qualifies({"subtotal": 500}, OrderFacts("EUR", GivenBack(0, Fraction(1))), lambda _: True)
    assert still_qualifies({"any": "thing"}, None, lambda _: True)


def test_yen_have_no_cents() -> None:
    order = OrderFacts("JPY", GivenBack(21, Fraction(21, 60)))
    assert not still_qualifies({"total": 50}, order, lambda properties: properties["total"] >= 30)


def test_shipping_that_came_back_leaves_the_goods_of_the_friend_as_they_were() -> None:
    order = OrderFacts("EUR", GivenBack(1_000, Fraction(0)))
    assert still_qualifies({"subtotal": 30, "total": 40}, order, over_thirty)


@pytest.mark.parametrize(
    ("evidence", "verdict", "suspicions"),
    [
        (Evidence(), Verdict.ALLOW, ()),
        (Evidence(shared_with_referrer=frozenset({SignalKind.IP})), Verdict.ALLOW, (Suspicion.SAME_IP,)),
        (Evidence(shared_with_referrer=frozenset({SignalKind.DEVICE})), Verdict.REVIEW, (Suspicion.SAME_DEVICE,)),
        (Evidence(shared_with_referrer=frozenset({SignalKind.PAYMENT})), Verdict.REJECT, (Suspicion.SAME_PAYMENT,)),
        (Evidence(network_claims=NETWORK_MANY - 1), Verdict.ALLOW, ()),
        (Evidence(network_claims=NETWORK_MANY), Verdict.REVIEW, (Suspicion.MANY_FROM_NETWORK,)),
        (
            Evidence(shared_with_referrer=frozenset({SignalKind.DEVICE, SignalKind.ADDRESS})),
            Verdict.REJECT,
            (Suspicion.SAME_ADDRESS, Suspicion.SAME_DEVICE),
        ),
    ],
)
def test_signals_add_up(evidence: Evidence, verdict: Verdict, suspicions: tuple[Suspicion, ...]) -> None:
    found = assess(evidence)
    assert (found.verdict, found.suspicions) == (verdict, suspicions)


kinds = st.frozensets(st.sampled_from(SignalKind))


@given(kinds, kinds, st.integers(0, 30), st.booleans(), kinds)
def test_more_evidence_never_makes_a_claim_less_suspicious(
    shared: frozenset[SignalKind], used: frozenset[SignalKind], claims: int, similar: bool, more: frozenset[SignalKind]
) -> None:
    before = assess(Evidence(shared, used, claims, similar))
    after = assess(Evidence(shared | more, used | more, claims + 1, has_similar_email=True))
    assert after.score >= before.score
    assert set(after.suspicions) >= set(before.suspicions)


def test_an_address_made_after_another_is_similar_and_a_short_one_is_nobodys() -> None:
    assert is_similar_email("ann.miller7@example.com", ["annmiller@other.example"])
    assert is_similar_email("annmiller+2@example.com", [None, "ann-miller-99@example.com"])
    assert not is_similar_email("ann1@example.com", ["ann2@example.com"])
    assert not is_similar_email(None, ["ann.miller@example.com"])


def test_a_network_is_that_of_a_public_address_only() -> None:
    assert network_of("93.184.216.34") == "93.184.216.0/24"
    assert network_of("2606:2800:220:1:248:1893:25c8:1946") == "2606:2800:220::/48"
    assert [network_of(each) for each in ("127.0.0.1", "10.1.2.3", "fe80::1", "nonsense")] == [None] * 4
    assert network_of("::ffff:93.184.216.34") == "93.184.216.0/24"
    assert normal_ip("2606:2800:0220:0001::1") == normal_ip(" 2606:2800:220:1:0:0:0:1 ")
