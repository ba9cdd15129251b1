"""What replies of mail servers and SendGrid's classifications say about whose fault a refusal is. Data, with sources.

A suppression is for long, so an address is to blame only where a reply says that it does not exist: the codes 5.1.x
that mean it, or words that can mean nothing else. Words about anybody else are believed before codes, because many
servers put one code on everything. What could also be a policy, a full mailbox or a fault of DNS is read as that.
"""

from __future__ import annotations

from typing import Final

from domain.refusals import Fault, Rule

_RFC_3463 = "https://www.rfc-editor.org/rfc/rfc3463"
_RFC_5321 = "https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3"
_RFC_7505 = "https://www.rfc-editor.org/rfc/rfc7505"
_GMAIL = "https://support.google.com/a/answer/3726730"
_MICROSOFT = "https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online"
_YAHOO = "https://senders.yahooinc.com/smtp-error-codes/"
_ICLOUD = "https://smtp.codes/icloud"
_GMX = "https://smtp.codes/unitedinternet"
_POSTFIX = "https://www.postfix.org/postconf.5.html"
_SES = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html"
_SENDGRID = "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting"

_LIMITED = r"(daily|hourly|monthly|sending|submission|outgoing|relay|messaging|outmail|messages per \w+)"
_OUR_LIMIT = (
    rf"\b{_LIMITED} (\w+ )?(limits?|quota|rate)\b.{{0,40}}(exceed|reach)"
    rf"|(exceed|reach)\w* (your|the|its|our) (\w+ ){{0,3}}{_LIMITED} (\w+ )?(limits?|quota)"
    r"|maximum (credits|sending rate) exceeded|submissionquotaexceeded|throttling failure"
)
_NOT_NOW = (
    r"try (again|later)|internal (server )?error|database (error|fail)|\bldap\b|access denied|licen[cs]e"
    r"|\b(service|server|system|back.?end)\b.{0,20}\b(unavailable|not available|down|fail)"
)
_UNVERIFIED = r"(unable to|cannot|can't|could not|couldn't) (be )?(verif|validat|check)"
_PERSON = r"(user|recipient|mailbox|addressee|account|address|alias|customer|local.?part)"

ACCOUNT: Final = (
    # A group that takes mail of its own people only asks for the same in almost the same words.
    Rule(Fault.MAILBOX, _MICROSOFT, words=r"resolver\.|restricted|\bgroup\b|distribution list|public folder"),
    Rule(Fault.PROVIDER, _GMAIL, codes=("5.4.5", "4.4.5")),
    Rule(Fault.PROVIDER, _MICROSOFT, codes=("5.1.90",)),
    Rule(Fault.PROVIDER, _RFC_3463, codes=("4.3.1", "4.3.2", "5.3.1", "5.3.2")),  # its disk is full, or it rests
    Rule(Fault.PROVIDER, _SENDGRID, words=_OUR_LIMIT),
    Rule(Fault.PROVIDER, _SENDGRID, words=r"unauthenticated senders? not allowed|authentication (is )?required"),
    Rule(Fault.PROVIDER, _RFC_5321, words=r"must (be authenticated|authenticate)|not authenticated to send"),
    Rule(Fault.PROVIDER, _POSTFIX, words=r"relay access denied|relaying (is )?(denied|not allowed)|unable to relay"),
    Rule(Fault.PROVIDER, _SES, words=r"sending (is )?paused|address is not verified|not authorized to perform"),
)
"""The server that takes our mail, and our account there: over a limit, or not let in. Time or a person mends it."""

_OTHERS: Final = (
    Rule(Fault.MESSAGE, _RFC_3463, codes=("5.6.",)),
    Rule(Fault.SENDER, _RFC_3463, words=r"\b(senders?|mail from|from address|return.path|envelope.from)\b"),
    Rule(Fault.SENDER, _GMAIL, words=r"\b(spf|dkim|dmarc|unauthenticated|reputation|ptr|reverse dns|rdns|r?dnsb?l)\b"),
    Rule(Fault.SENDER, _ICLOUD, words=r"spamhaus|spamcop|sorbs|barracuda central|proofpoint|block.?list|black.?list"),
    Rule(
        Fault.SENDER, _YAHOO, words=r"\bblocked|banned|unsolicited|complaint|not accept\w* (mail|messages?|email) from"
    ),
    Rule(Fault.SENDER, _ICLOUD, words=r"\b(policy|policies|prohibited|not permitted)\b"),
    Rule(Fault.MESSAGE, _YAHOO, words=r"\bspam\b|virus|malware|phish|objectionable|\bcontent\b|attachment|suspicious"),
    Rule(Fault.MESSAGE, _GMAIL, words=r"(message|mail|size)\b.{0,40}(too (large|big)|exceeds?.{0,30}(limit|size))"),
    Rule(Fault.MESSAGE, _GMAIL, words=r"rfc ?5322|\bheaders?\b.{0,30}(missing|invalid|malformed|duplicate)"),
    Rule(Fault.MAILBOX, _RFC_3463, words=r"quota|\bfull\b|out of storage|storage (space|alloc)|insufficient"),
    Rule(Fault.MAILBOX, _GMX, words=r"\b(voll|überfüllt|pleine?|llen[oa]|pien[ao]|vol|cheia|saturée?|überschritten)\b"),
    Rule(Fault.MAILBOX, _GMX, words=r"too (many|quickly|frequent|fast)|over ?limit|gr[ea]y ?list|\brate\b"),
    Rule(
        Fault.MAILBOX, _ICLOUD, words=r"inactive|disabled|suspended|deactivated|discontinued|temporar|\blocked|dormant"
    ),
    Rule(Fault.SENDER, _RFC_5321, words=r"\byour (mail )?server\b"),
    Rule(Fault.ADDRESS, _ICLOUD, codes=("5.1.1",), words=r"lookup success.{0,20}no user record"),
    Rule(Fault.MAILBOX, _MICROSOFT, words=r"restricted|not allowed to send|permission|only accepts|members? only"),
    Rule(Fault.MAILBOX, _POSTFIX, words=r"name (service|server)|\bdns\b|\bmx\b|lookup (failed|error)|servfail"),
    Rule(Fault.MAILBOX, _POSTFIX, words=r"timed? ?out|connection (refused|reset|lost)|no route|unrout|\bloop|expired"),
)
"""Words that blame somebody else than the address: our name, the message, the state of the mailbox, the way there."""

_ADDRESS: Final = (
    Rule(Fault.SENDER, _RFC_3463, codes=("5.1.7", "5.1.8", "5.7.")),  # the sender's address, and policies
    Rule(Fault.MAILBOX, _RFC_5321, words=rf"{_NOT_NOW}|{_UNVERIFIED}"),
    Rule(Fault.ADDRESS, _RFC_3463, codes=("5.1.1", "5.1.2", "5.1.3", "5.1.6")),
    Rule(Fault.ADDRESS, _RFC_7505, codes=("5.1.10",)),  # a null MX; at Exchange Online, RecipientNotFound
    Rule(Fault.ADDRESS, _GMX, words=rf"{_PERSON}( is| was)? (unknown|not known)\b"),
    Rule(Fault.ADDRESS, _GMX, words=rf"(unknown|invalid|no such|non.?existent) {_PERSON}\b"),
    Rule(Fault.ADDRESS, _GMAIL, words=rf"{_PERSON}\b.{{0,60}}(does not|doesn't|do not) exist"),
    Rule(Fault.ADDRESS, _YAHOO, words=r"doesn't have an? (\S+ )?account|not a valid (mailbox|recipient|user)"),
    Rule(
        Fault.ADDRESS, _MICROSOFT, words=rf"recip(ient)?notfound|{_PERSON} not found|not our customer|no mailbox here"
    ),
)

_CODES: Final = (
    Rule(Fault.MESSAGE, _RFC_3463, codes=("5.2.3", "5.3.4")),
    Rule(Fault.MAILBOX, _RFC_3463, codes=("5.1.", "5.2.", "5.3.", "5.4.")),
)

RECIPIENT: Final = (*_OTHERS, *_ADDRESS, *_CODES)
"""A final refusal after it was said whom a message is for, by our server or, as a bounce tells, by the recipient's."""

SENDGRID_CLASSES: Final = {
    "invalid address": Fault.ADDRESS,
    "mailbox unavailable": Fault.MAILBOX,
    "technical failure": Fault.MAILBOX,
    "frequency or volume too high": Fault.SENDER,
    "reputation": Fault.SENDER,
    "content": Fault.MESSAGE,
}
"""`bounce_classification` in small letters; what is not here (`Unclassified`) says nothing.

https://www.twilio.com/docs/sendgrid/ui/analytics-and-reporting/bounce-and-block-classifications
"""

SENDGRID_DROPS: Final = {
    "invalid": Fault.ADDRESS,
    "bounced address": Fault.MAILBOX,
    "unsubscribed address": Fault.MAILBOX,
    "spam reporting address": Fault.MAILBOX,
    "spam content": Fault.MESSAGE,
    "invalid smtpapi header": Fault.MESSAGE,
    "recipient list over package quota": Fault.PROVIDER,
}
"""The `reason` of `dropped` in small letters. SendGrid's list of bounced addresses holds full mailboxes too: no proof.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

SENDGRID_FIELDS: Final = {
    r"from\b|reply_to": Fault.PROVIDER,  # the shop's, the same in all messages
    r"personalizations\.\d+\.to\b": Fault.MAILBOX,  # a form that SendGrid does not take is no proof: another may
}
"""Beginnings of `errors[].field` of a 400; what is not here (subject, content, headers, ...) is the message's own.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""
