"""Which links of a mail are counted, which stay as they were written, and which lead nowhere."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rendering.plain_text import plain_text
from domain.link_hosts import LinkHosts
from domain.message_links import lead_links, link_findings, targets, without_refused

BASE = "https://l.example"
HOSTS = LinkHosts.of(
    [
        '<a href="https://shop.example/">',
        '<a href="myshop://product/{{ x }}">',
        '<a href="{{ cart.url }}">',
        """{% set far = 'Other-App:open' %}<a href=javascript:alert(1)>""",
    ],
    website=None,
    domains=[],
)


def counted(html: str) -> tuple[str, list[str]]:
    """The HTML with counted links, and where these lead."""
    led: list[str] = []

    def token(target: str) -> str:
        led.append(target)
        return str(len(led))

    return lead_links(html, BASE, HOSTS, token), led


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("<a href=https://shop.example/a?b=1&amp;c=2>", "https://shop.example/a?b=1&c=2"),
        ("<a href=https://shop.example/>", "https://shop.example/"),
        ("<A class=x\nHREF = 'https://shop.example/a'>", "https://shop.example/a"),
        ('<a title="a > b" href="https://shop.example/">', "https://shop.example/"),
        ("<a title=it's href='https://shop.example/'>", "https://shop.example/"),
        ('<a/href="https://shop.example/"/>', "https://shop.example/"),
        ('<area alt href="https://shop.example/">', "https://shop.example/"),
        ('<a data-href="https://no.example" href="https://shop.example/">', "https://shop.example/"),
        ('<a title=\'href="https://no.example"\' href="https://shop.example/">', "https://shop.example/"),
        ('<a href="https://shop.example/1" href="https://shop.example/2">', "https://shop.example/1"),
        ('<a href=" https://shop.example/?a=1&copy=2&amp;x=&eacute; ">', "https://shop.example/?a=1&copy=2&x=\u00e9"),
    ],
)
def test_a_link_is_counted_however_its_tag_is_written(written: str, target: str) -> None:
    html, led = counted(f"<p>it's 'so'{written}x</a></p>")

    assert led == [target]
    assert targets(html)[0] == f"{BASE}/c/1"


@pytest.mark.parametrize(
    "written",
    [
        *("whatsapp://send?text=Hi%20you", "mailto:a@shop.example", "tel:+491234", "sms:+491234", "myshop://product/7"),
        *("MyShop://product/7", "other-app:open", "//shop.example/x", "/cart", "#top", "", "geo:1,2"),
        *("https://elsewhere.example/", f"{BASE}/u/token"),
    ],
)
@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_other_links_stay_letter_by_letter(written: str, quote: str) -> None:
    html = f"<p><a  href={quote}{written}{quote} >x</a><abbr href=x:y></p>"

    assert counted(html) == (html, [])


@pytest.mark.parametrize(
    "target",
    [
        *("javascript:alert(1)", "JavaScript:x", " javascript:x", "java&#10;script:x", "&#1;javascript:x"),
        *("data:text/html,x", "vbscript:x", "file:///etc/passwd", "unknown-app:x", "&#106;avascript:x", "ms-msdt:/id"),
    ],
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_what_could_run_code_and_schemes_that_only_data_names_lead_nowhere(target: str, quote: str) -> None:
    assert counted(f"<a href={quote}{target}{quote} class=b>x</a>") == ('<a href="#" class=b>x</a>', [])


def test_unquoted_links_that_could_run_code_lead_nowhere() -> None:
    assert counted("<a href=javascript:alert(1)>x</a>") == ('<a href="#">x</a>', [])


def test_without_counting_nothing_changes_but_what_leads_nowhere() -> None:
    html = '<a href=https://shop.example/>a</a><a href="javascript:x">b</a>'

    assert lead_links(html, BASE, HOSTS, None) == '<a href=https://shop.example/>a</a><a href="#">b</a>'


class _Judge(HTMLParser):
    """The links that the parser of Python's library finds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """The first `href` of a link, if it has a value."""
        written = next((value for name, value in attributes if name == "href"), None)
        if tag in ("a", "area") and written is not None:
            self.found.append(written.strip())


_VALUES = st.text("abc:/?=.#-_% ", min_size=1, max_size=12)
_QUOTED = st.one_of(
    _VALUES.map(lambda value: f'"{value}>"'),
    _VALUES.map(lambda value: f"'{value} href=x>'"),
    st.text("abc:/?=.#-_%", min_size=1, max_size=12).map(lambda value: f"x{value}"),
)
_NAMES = st.sampled_from(["href", "HREF", "data-href", "title", "class", "hrefx", "x:href"])
_ATTRIBUTES = st.builds(
    lambda name, around, value: f"{name}{around}{value}", _NAMES, st.sampled_from(["=", " = "]), _QUOTED
)
_TAGS = st.builds(
    lambda name, gap, attributes, end: f"<{name}{gap}{gap.join(attributes)}{end}",
    st.sampled_from(["a", "A", "area", "abbr", "p", "img", "article"]),
    st.sampled_from([" ", "\n", "\t  "]),
    st.lists(st.one_of(_ATTRIBUTES, st.sampled_from(["checked", "alt"])), max_size=4),
    st.sampled_from([" >", "\n>"]),
)


@given(st.lists(st.one_of(_TAGS, st.text("ab<> \"'=/", max_size=6).map(lambda text: text.replace("<", "&lt;")))))
def test_the_links_are_those_that_a_parser_finds(pieces: list[str]) -> None:
    html = "".join(pieces)
    judge = _Judge()
    judge.feed(html)
    judge.close()

    assert targets(html) == judge.found


def test_a_page_of_broken_tags_takes_no_longer_than_a_whole_one() -> None:
    for broken in ("<a ", "<a x='", '<a "', "<a x=", "<a /" + " " * 50, "<a b c d "):
        html = broken * (200_000 // len(broken))
        assert counted(html) == (html, [])


@pytest.mark.parametrize("target", ["javascript:alert(1)", "JavaScript:alert(&quot;x y&quot;)", "evil-app:open"])
def test_the_text_part_has_no_address_that_leads_nowhere_in_the_html(target: str) -> None:
    html = f'<p>Note: evil-app:1 <a href="{target}">Go</a> on <a href="https://shop.example/">Shop</a></p>'

    text = without_refused(plain_text(html), html, HOSTS)

    assert text == "Note: evil-app:1 Go on Shop: https://shop.example/\n"


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ("https:/shop.example/x", ["link_unclear"]),
        ("https://shop.example/a b", ["link_unclear"]),
        ("https://shop.example/a%20b", []),
        (" https://shop.example/ ", []),
        ("mailto:a@shop.example", []),
    ],
)
def test_a_web_address_that_programs_read_differently_is_a_finding(target: str, codes: list[str]) -> None:
    assert [each.code for each in link_findings(f'<a href="{target}">x</a>', HOSTS, "/html")] == codes
