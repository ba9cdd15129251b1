"""Providers at which several addresses are one mailbox, beyond what holds for all (`+tag`, case).

Only what a provider says of its own addresses, or does in its own program, and only where it gives the others of a
name to nobody else: fastmail.com and fastmail.fm are two people's, so are outlook.com and hotmail.com.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """`domains` are one, the first stands for all; `ignored` are characters that do not count before the @.

    `by_subdomain`: whatever@name.domain is name@domain. `source`: where the provider says so.
    """

    domains: tuple[str, ...]
    source: str
    ignored: str = ""
    by_subdomain: bool = False

    def name(self, local: str) -> str:
        """The part before the @ as this provider compares it."""
        return "".join(each for each in local if each not in self.ignored) or local


_FASTMAIL: Final = "https://www.fastmail.help/hc/en-us/articles/360060591053"

PROVIDERS: Final = (
    Provider(("gmail.com", "googlemail.com"), "https://support.google.com/mail/answer/7436150", ignored="."),
    Provider(
        ("proton.me", "protonmail.com", "pm.me", "protonmail.ch"),
        "https://proton.me/support/addresses-and-aliases, github.com/ProtonMail/WebClients (removeEmailAlias)",
        ignored=".-_",
    ),
    Provider(("icloud.com", "me.com", "mac.com"), "https://support.apple.com/118230"),
    Provider(("fastmail.com",), _FASTMAIL, by_subdomain=True),
    Provider(("fastmail.fm",), _FASTMAIL, by_subdomain=True),
)

_BY_DOMAIN: Final = {domain: provider for provider in PROVIDERS for domain in provider.domains}


def at_provider(local: str, domain: str) -> tuple[str, str]:
    """The mailbox that a provider has for an address: its name and the domain that stands for all others."""
    name, _, above = domain.partition(".")
    outer = _BY_DOMAIN.get(above)
    if outer is not None and outer.by_subdomain:
        return name.partition("+")[0] or name, above
    provider = _BY_DOMAIN.get(domain)
    return (local, domain) if provider is None else (provider.name(local), provider.domains[0])
