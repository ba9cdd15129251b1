"""The hard rate of each provider, shared by all processes, and whether the provider takes anything at present.

Who may call holds a place until a second after the answer. A call's bytes reach the provider between its beginning and
its answer, however long it hangs, so no window of one second can have more of them than there are places.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.messages import Message
from database.session import ReadSession, WriteSession
from domain.messages import MessageState
from domain.provider_pace import MANY_IN_DOUBT, WINDOW, Pace, Trouble


class ProviderRate(Table):
    """One provider. `tat` is the earliest instant of the next call, by the spacing of calls (GCRA with capacity 1).

    `ill_since` is set while the provider takes nothing; `trouble` says why, `failures` how many calls found it so.
    """

    __tablename__ = "provider_rates"

    provider: Mapped[str] = mapped_column(primary_key=True)
    tat: Mapped[datetime]
    transactional_until: Mapped[
        datetime
    ]  # while it lies ahead, marketing waits: a transactional message stands in line
    ill_since: Mapped[datetime | None]
    trouble: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    paused_until: Mapped[datetime] = mapped_column(server_default=text("'2000-01-01Z'"))  # the next probe's time
    well_since: Mapped[datetime] = mapped_column(server_default=text("'2000-01-01Z'"))


class ProviderPlace(Table):
    """A call that may be under way, or was answered less than a second ago. `is_lost`: it was never answered."""

    __tablename__ = "provider_places"

    provider: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    free_at: Mapped[datetime]
    is_lost: Mapped[bool] = mapped_column(server_default=text("false"))


@dataclass(frozen=True, slots=True)
class Granted:
    """The provider may be called now, `at` by the database's clock. A probe finds out whether an ill one is well."""

    at: datetime
    place: int
    is_probe: bool


@dataclass(frozen=True, slots=True)
class NotYet:
    """Ask again after `wait`. `trouble` says why the provider takes nothing at present, None when it is well."""

    wait: timedelta
    trouble: str | None = None


LONGEST_CALL: Final = timedelta(seconds=60)
"""After so long a call is over, whatever became of the process that made it."""
_LONGEST_PROBE: Final = timedelta(seconds=15)
"""After so long without an answer another message may try, while the first still holds its place."""
_LOST_FOR: Final = timedelta(seconds=15)
_ASK_AGAIN: Final = timedelta(milliseconds=250)
"""The longest wait before asking again; how long after that a transactional message keeps its mark."""
_FIRST_PAUSE: Final = timedelta(milliseconds=500)
_LONGEST_PAUSE: Final = timedelta(seconds=3)
_PRECEDENCE: Final = timedelta(milliseconds=500)
"""How much later than others a message probes that was refused before. More than `_ASK_AGAIN`."""

_REGISTER = text("""
    WITH rate AS (
        INSERT INTO provider_rates (provider, tat, transactional_until)
        VALUES (:provider, '2000-01-01Z', '2000-01-01Z')
        ON CONFLICT DO NOTHING
    )
    INSERT INTO provider_places (provider, place, free_at)
    SELECT :provider, place, '2000-01-01Z' FROM generate_series(1, CAST(:places AS bigint)) AS place
    ON CONFLICT DO NOTHING
""")

# Processes take turns by the lock on the provider's row; `now` is looked at once it is held. A place that another took
# meanwhile is judged again by its newest version, and then nothing is granted. A transactional message that is refused
# leaves its mark, and while that lies ahead marketing stands back; who is served takes it away, who waits renews it.
# An ill provider is called by one at a time: a probe moves `paused_until` behind its own answer. Who was refused before
# lets others probe first and leaves no mark then, lest refusals of one recipient keep everybody waiting.
# By pk_provider_rates and pk_provider_places.
_TAKE = text("""
    WITH rate AS MATERIALIZED (
        SELECT tat, transactional_until, ill_since, trouble, paused_until
        FROM provider_rates WHERE provider = :provider FOR UPDATE
    ), line AS MATERIALIZED (
        SELECT now, ill_since IS NOT NULL AS is_probe, trouble, greatest(
            CASE WHEN ill_since IS NULL THEN tat ELSE paused_until + CAST(:behind AS interval) END,
            CASE WHEN CAST(:is_transactional AS boolean) THEN tat ELSE transactional_until END
        ) AS next
        FROM rate, LATERAL (SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now) AS clock
    ), places AS MATERIALIZED (
        SELECT place, free_at FROM provider_places CROSS JOIN line
        WHERE provider = :provider
            AND place <= CASE WHEN is_probe THEN CAST(:places AS bigint) ELSE CAST(:usual AS bigint) END
        ORDER BY free_at LIMIT 1
    ), taken AS (
        UPDATE provider_places AS mine SET free_at = line.now + CAST(:longest AS interval), is_lost = false
        FROM places, line
        WHERE mine.provider = :provider AND mine.place = places.place AND mine.free_at <= line.now
            AND line.next <= line.now
        RETURNING mine.place
    ), wait AS (
        SELECT least(
            greatest(line.next, (SELECT free_at FROM places), line.now), line.now + CAST(:ask_again AS interval)
        ) AS until
        FROM line
    ), moved AS (
        UPDATE provider_rates SET
            tat = CASE WHEN taken.place IS NULL THEN tat ELSE line.now + CAST(:spacing AS interval) END,
            transactional_until = CASE
                WHEN NOT CAST(:is_transactional AS boolean) THEN transactional_until
                WHEN line.is_probe AND CAST(:behind AS interval) > interval '0' THEN transactional_until
                WHEN taken.place IS NULL THEN greatest(transactional_until, wait.until + CAST(:ask_again AS interval))
                ELSE line.now
            END,
            paused_until = CASE
                WHEN line.is_probe AND taken.place IS NOT NULL THEN line.now + CAST(:longest_probe AS interval)
                ELSE paused_until
            END
        FROM wait CROSS JOIN line LEFT JOIN taken ON true
        WHERE provider = :provider AND (CAST(:is_transactional AS boolean) OR taken.place IS NOT NULL)
    )
    SELECT line.now, line.is_probe, line.trouble, taken.place, wait.until
    FROM wait CROSS JOIN line LEFT JOIN taken ON true
""")

_FREE = text("""
    UPDATE provider_places
    SET free_at = coalesce(CAST(:now AS timestamptz), clock_timestamp()) + CAST(:held AS interval),
        is_lost = CAST(:is_lost AS boolean)
    WHERE provider = :provider AND place = :place
""")

_PROBE_AGAIN = text("""
    UPDATE provider_rates SET paused_until = clock_timestamp() WHERE provider = :provider AND ill_since IS NOT NULL
""")

# What a call says that began before the provider was last found well is no news.
_FALL_ILL = text("""
    UPDATE provider_rates SET
        ill_since = coalesce(ill_since, clock_timestamp()),
        trouble = :trouble,
        failures = failures + 1,
        paused_until = clock_timestamp() + coalesce(
            CAST(:pause AS interval),
            least(
                CAST(:first AS interval) * 2 ^ least(greatest(failures - CAST(:tries AS bigint), 0), 10),
                CAST(:longest AS interval)
            )
        )
    WHERE provider = :provider AND CASE
        WHEN ill_since IS NULL THEN well_since <= CAST(:at AS timestamptz)
        ELSE CAST(:is_probe AS boolean) OR CAST(:pause AS interval) IS NOT NULL
    END
    RETURNING paused_until - clock_timestamp() AS pause
""")

_RECOVER = text("""
    WITH well AS (
        UPDATE provider_rates SET ill_since = NULL, trouble = NULL, failures = 0, well_since = clock_timestamp()
        WHERE provider = :provider AND ill_since IS NOT NULL
        RETURNING provider
    )
    UPDATE provider_places SET free_at = least(free_at, clock_timestamp() + CAST(:held AS interval)), is_lost = false
    FROM well WHERE provider_places.provider = well.provider AND is_lost
""")


async def register(session: WriteSession, provider: str, pace: Pace) -> None:
    """Make the provider's row and places. Repeatable."""
    await session.execute(_REGISTER, {"provider": provider, "places": pace.places})


async def take(
    session: WriteSession,
    provider: str,
    *,
    pace: Pace,
    is_transactional: bool,
    was_refused: bool = False,
    now: datetime | None = None,
) -> Granted | NotYet:
    """Ask for the next call of a registered provider. `now` None is the database's clock, the same for all.

    `was_refused`: while the provider is ill, others find out first.
    """
    inputs = {
        "provider": provider,
        "spacing": pace.spacing,
        "places": pace.places,
        "usual": pace.usual,
        "longest": LONGEST_CALL,
        "longest_probe": _LONGEST_PROBE,
        "ask_again": _ASK_AGAIN,
        "is_transactional": is_transactional,
        "behind": _PRECEDENCE if was_refused else timedelta(),
        "now": now,
    }
    row = (await session.execute(_TAKE, inputs)).one()
    if row.place is not None:
        return Granted(row.now, row.place, row.is_probe)
    return NotYet(max(row.until - row.now, timedelta(milliseconds=1)), row.trouble if row.is_probe else None)


async def free(
    session: WriteSession, provider: str, place: int, *, after: timedelta = WINDOW, now: datetime | None = None
) -> None:
    """The call was answered; its bytes have reached the provider by now. `after` zero: it was not made."""
    await session.execute(_FREE, {"provider": provider, "place": place, "held": after, "is_lost": False, "now": now})


async def lose(session: WriteSession, provider: str, place: int) -> None:
    """The call was not answered in time: its bytes may reach the provider when it wakes."""
    inputs = {"provider": provider, "place": place, "held": _LOST_FOR, "is_lost": True, "now": None}
    await session.execute(_FREE, inputs)


async def probe_again(session: WriteSession, provider: str) -> None:
    """The probe did not take place."""
    await session.execute(_PROBE_AGAIN, {"provider": provider})


async def fall_ill(session: WriteSession, provider: str, granted: Granted, trouble: Trouble) -> timedelta | None:
    """The provider takes nothing: leave it alone for as long as it asked, or for a while that grows.

    However many calls find it ill at once, they pause it once. Answers how long, None for those who come too late.
    """
    inputs = {
        "provider": provider,
        "trouble": trouble.code,
        "pause": trouble.pause,
        "tries": MANY_IN_DOUBT if trouble.is_doubtful else 0,  # so many try soon before pauses grow
        "first": _FIRST_PAUSE,
        "longest": _LONGEST_PAUSE,
        "at": granted.at,
        "is_probe": granted.is_probe,
    }
    paused: timedelta | None = await session.scalar(_FALL_ILL, inputs)
    return paused


async def recover(session: WriteSession, provider: str) -> None:
    """A probe was answered: everybody may call again."""
    await session.execute(_RECOVER, {"provider": provider, "held": WINDOW})


async def ill_providers(session: ReadSession) -> list[ProviderRate]:
    """Providers that take nothing at present."""
    found = await session.scalars(select(ProviderRate).where(ProviderRate.ill_since.is_not(None)))
    return list(found)


async def waiting(session: ReadSession, channel: str) -> int:
    """How many messages stand in line on a channel. By ix_messages_claimed."""
    statement = select(func.count()).where(Message.channel == channel, Message.state == MessageState.CLAIMED)
    return (await session.execute(statement)).scalar_one()
