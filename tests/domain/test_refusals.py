"""Whose fault a refusal is, by replies as large providers write them (sources: domain/refusal_rules.py)."""

# ruff: noqa: E501  replies stand here as they are written

from __future__ import annotations

import pytest

from domain.provider_answers import Deferred, Rejected, SmtpStage, Unknown, smtp_answer
from domain.refusal_rules import RECIPIENT
from domain.refusals import Fault, fault_of, read_reply

DEAD = [
    "550 5.1.1 <ann@icloud.com>: user lookup success but no user record found",
    "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos or unnecessary spaces. Learn more at https://support.google.com/mail/?p=NoSuchUser - gsmtp",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@contoso.example not found by SMTP address lookup",
    "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
    "554 delivery error: dd This user doesn't have a yahoo.com account (ann@yahoo.com) [0] - mta4212.mail.gq1.yahoo.com",
    "550 5.1.1 <ann@icloud.com>: user does not exist",
    "550 5.1.1 unknown or illegal alias: ann@icloud.com",
    "550 Benutzer nicht bekannt/User unknown",
    "550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown in local recipient table",
    "550 5.1.1 <ann@example.com>... User unknown",
    "550 cuda_nsu 5.1.1 <ann@example.com> Recipient address rejected: User unknown",
    "554 Sorry, no mailbox here by that name. (#5.1.1)",
    "551 not our customer",
    "550 No such user here",
    "550 5.1.1 <ann@orange.fr>: Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416 [416]",
    "550 Mailbox not found. https://service.mail.qq.com/",
    "550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
    "550 5.1.2 Domain does not exist",
]
NOT_DEAD = [
    # a missing mailbox, no access, or a policy (RFC 5321, 4.2.3)
    (
        "550 5.4.1 Recipient address rejected: Access denied. [DB5EUR01FT012.eop-EUR01.prod.protection.outlook.com]",
        "mailbox",
    ),
    (
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [DM6NAM10FT012 08DBB71928CA8F8E]",
        "mailbox",
    ),
    ("550 <ann@gmx.de>: Requested action not taken: mailbox unavailable", "mailbox"),
    ("550 #5.1.0 Address rejected.", "mailbox"),
    ("550 5.1.1 Postfach voll", "mailbox"),
    ("550 5.1.3 Bad recipient: your server may not send here", "sender"),
    # full, asleep, protected
    (
        "552 5.2.2 The recipient's inbox is out of storage space. https://support.google.com/mail/?p=OverQuotaPerm",
        "mailbox",
    ),
    (
        "550 5.2.1 The email account that you tried to reach is inactive. Learn more at https://support.google.com",
        "mailbox",
    ),
    ("554 30 Sorry, your message to ann@yahoo.com cannot be delivered. This mailbox is disabled (554.30).", "mailbox"),
    ("552 5.2.2 <ann@icloud.com>: user is over quota", "mailbox"),
    ("550 5.1.1 <ann@icloud.com>: inactive email address", "mailbox"),
    ("550 5.1.1 : user lookup failed", "mailbox"),
    ("550 Benutzer hat zuviele Mails auf dem Server. / User has too many messages on the server.", "mailbox"),
    ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required to the group", "sender"),
    # our address, our reputation
    ("550 5.1.8 <hello@shop.example>: Sender address rejected: Domain not found", "sender"),
    ("550 Sender verify failed", "sender"),
    ("550 5.7.26 This mail has been blocked because the sender is unauthenticated.", "sender"),
    ("550 5.7.1 [192.0.2.1 12] Our system has detected that this message is likely unsolicited mail.", "sender"),
    ("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. You are on our block list (S3140).", "sender"),
    (
        "550 5.7.515 Access denied, sending domain shop.example doesn't meet the required authentication level.",
        "sender",
    ),
    (
        "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; see https://postmaster.yahooinc.com",
        "sender",
    ),
    ("554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", "sender"),
    (
        "550 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137",
        "sender",
    ),
    ("550 Requested action not taken: mailbox unavailable\nReject due to policy restrictions.", "sender"),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "sender"),
    ("550 5.1.1 <ann@example.com>: blocked using zen.spamhaus.org", "sender"),
    ("550 5.7.1 <ann@example.com>... User unknown", "sender"),
    # this message
    ("554 5.7.1 [P4] Message rejected as spam by its content", "message"),
    ("552 5.3.4 Message size exceeds fixed limit", "message"),
    ("550 5.6.7 Non-ASCII addresses not permitted for that recipient", "message"),
    # the way there
    ("550 5.4.4 Host or domain name not found. Name service error for name=gone.example type=MX", "mailbox"),
    ("550 5.1.2 <ann@gone.example>... Host unknown (Name server: gone.example.: host not found)", "mailbox"),
    ("550 Requested action not taken: mailbox unavailable\ninvalid DNS MX or A/AAAA resource record", "mailbox"),
    ("550 unrouteable address", "mailbox"),
    # a server that cannot tell now, whatever code it puts on that
    ("550 5.1.1 Sorry, the address could not be verified, try again later", "mailbox"),
    ("550 5.1.1 Unable to verify user: backend down", "mailbox"),
    ("550 5.1.1 internal error: LDAP lookup", "mailbox"),
    ("550 unknown user database error", "mailbox"),
    ("550 5.1.1 Service not available", "mailbox"),
    ("550 5.1.1 <ann@example.com>: Access denied", "mailbox"),
    ("550 5.1.1 User license exceeded", "mailbox"),
    # nothing that says anything, and names that say too much
    ("550 mailbox unavailable", "mailbox"),
    ("550 who is that", "mailbox"),
    ("550 Rejected: <user-unknown@example.com>", "mailbox"),
    (
        "550 Requested action not taken: mailbox unavailable\n550 For explanation visit https://postmaster.gmx.net",
        "mailbox",
    ),
    ("", "mailbox"),
]


@pytest.mark.parametrize("text", DEAD)
def test_an_address_is_to_blame_where_a_reply_says_that_it_does_not_exist(text: str) -> None:
    assert fault_of(read_reply(text), RECIPIENT, Fault.MAILBOX) is Fault.ADDRESS


@pytest.mark.parametrize(("text", "fault"), NOT_DEAD)
def test_a_refusal_about_anything_else_never_blames_the_address(text: str, fault: str) -> None:
    assert fault_of(read_reply(text), RECIPIENT, Fault.MAILBOX) == fault


OUR_TROUBLE = [
    (554, "No SMTP service here", SmtpStage.CONNECT),
    (554, "5.7.1 You are blocked", SmtpStage.CONNECT),
    (535, "5.7.8 Username and Password not accepted", SmtpStage.CONNECT),
    (550, "5.1.8 Sender rejected", SmtpStage.SENDER),
    (553, "5.7.1 <hello@shop.example>: Sender address rejected: not owned by user", SmtpStage.SENDER),
    (
        550,
        "5.4.5 Daily user sending limit exceeded. For more information visit https://support.google.com",
        SmtpStage.CONTENT,
    ),
    (550, "5.4.5 Daily SMTP relay sending limit exceeded for customer.", SmtpStage.RECIPIENT),
    (450, "4.2.1 Peak SMTP relay limit exceeded for customer.", SmtpStage.RECIPIENT),
    (451, "You have exceeded your messaging limits", SmtpStage.RECIPIENT),
    (550, "Maximum credits exceeded", SmtpStage.CONTENT),
    (
        550,
        "5.1.90 Your message can't be sent because you've reached your daily limit for recipients",
        SmtpStage.RECIPIENT,
    ),
    (454, "Throttling failure: Daily message quota exceeded.", SmtpStage.CONTENT),
    (554, "5.7.1 <ann@example.com>: Relay access denied", SmtpStage.RECIPIENT),
    (530, "5.7.57 Client not authenticated to send mail", SmtpStage.SENDER),
    (452, "4.3.1 Insufficient system storage", SmtpStage.RECIPIENT),
    (421, "4.7.0 Try again later, closing connection.", SmtpStage.CONTENT),
    (-1, "Malformed SMTP response line: HTTP/1.1 400 Bad Request", SmtpStage.RECIPIENT),
]


@pytest.mark.parametrize(("status", "text", "stage"), OUR_TROUBLE)
def test_trouble_with_our_server_or_account_keeps_every_message_for_later(
    status: int, text: str, stage: SmtpStage
) -> None:
    answer = smtp_answer(status, text, stage)

    assert isinstance(answer, Deferred)
    assert answer.fault is Fault.PROVIDER


def test_a_reply_that_is_no_smtp_after_the_content_is_unknown_never_rejected() -> None:
    for status in (-1, 0, 99, 354, 199, 600, 999):
        assert isinstance(smtp_answer(status, "5.1.1 <html>", SmtpStage.CONTENT), Unknown)


def test_a_full_mailbox_or_greylisting_stops_neither_the_address_nor_the_provider() -> None:
    full = smtp_answer(552, "5.2.2 mailbox quota exceeded", SmtpStage.RECIPIENT)
    grey = smtp_answer(450, "4.2.0 <ann@example.com>: Recipient address rejected: Greylisted", SmtpStage.RECIPIENT)

    assert full == Rejected("smtp_552", 552, Fault.MAILBOX)
    assert grey == Deferred("smtp_450", 450, fault=Fault.MAILBOX)


@pytest.mark.parametrize(
    "text",
    [
        "5.7.1 RESOLVER.RST.AuthRequired; authentication required [Stage: CreateMessage]",
        "5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
        "5.7.1 You are not authorized to send to this distribution list",
        "5.2.2 mailbox quota exceeded",
        "5.7.1 Message size limit exceeded",
    ],
)
def test_one_recipients_rules_never_pause_the_provider_for_everybody(text: str) -> None:
    for stage in (SmtpStage.RECIPIENT, SmtpStage.CONTENT):
        answer = smtp_answer(550, text, stage)

        assert isinstance(answer, Rejected)
        assert answer.fault not in (Fault.PROVIDER, Fault.ADDRESS)


def test_a_hostile_reply_is_read_quickly() -> None:
    assert read_reply("<" * 1_000_000).enhanced == ""
    assert read_reply("550 " + "a@" * 500_000 + " 5.1.1").enhanced == ""
    assert read_reply("550 192.5.1.1 and 5.1.1.7 are addresses").enhanced == ""
