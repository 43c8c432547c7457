"""`robi people` and `robi erase`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.schemas.people import ReceiptAnswer, User
from core.domain.people import Person, Receipt
from core.domain.validation import label
from core.domain.wording import count
from robi.cli.answers import CommandAnswer
from robi.cli.gallery import opened
from robi.cli.usage import Commands, Parser
from robi.library import Robi

SOON = timedelta(minutes=5)  # within which files are overwritten: that is waited for
PAUSE_S = 0.2


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    people_ = commands.add_parser("people", parents=shared, help="list who is enrolled")
    people_.add_argument("--query", default="", help="words of a name or USER_ID")
    people_.set_defaults(command=people)
    erase_ = commands.add_parser("erase", parents=shared, help="erase a person everywhere, without asking")
    erase_.add_argument("user_id", metavar="USER_ID")
    erase_.set_defaults(command=erase)


def people(options: argparse.Namespace) -> CommandAnswer:
    with opened(options) as robi:
        found = list(robi.people(options.query))
    users = [User.of(person).model_dump(mode="json") for person in found]
    lines = [_line(person) for person in found] or [
        "Nobody of that name." if options.query else "Nobody yet."
    ]
    return CommandAnswer(lines, {"users": users, "total": len(users)})


def erase(options: argparse.Namespace) -> CommandAnswer:
    with opened(options) as robi:
        receipt = _overwritten(robi, robi.erase(options.user_id))
    return CommandAnswer(_erased(receipt), ReceiptAnswer.of(receipt).model_dump(mode="json"))


def _overwritten(robi: Robi, receipt: Receipt) -> Receipt:
    """The receipt once the files hold nothing of the person any more, where that is soon.

    Files are overwritten while the gallery is open, and here nobody else keeps it open.
    """
    until = datetime.now(UTC) + SOON
    while any(part.bytes and part.gone_by and part.gone_by < until for part in receipt.disk.values()):
        if datetime.now(UTC) >= until:
            break
        time.sleep(PAUSE_S)
        receipt = robi.receipt(receipt.event)
    return receipt


def _line(person: Person) -> str:
    return f"{person.user_id}\t{label(person.name, person.user_id)}\t{person.templates}"


def _erased(receipt: Receipt) -> list[str]:
    lines = [f"{receipt.user_id} is erased, with {count(receipt.templates_erased, 'template')}."]
    for tier, left in receipt.left.items():
        if left is None:
            lines.append(f"  {tier} could not be asked what it still holds; no search finds it.")
        elif left:
            lines.append(f"  {tier} still holds {left}, and will follow; no search finds them.")
    for tier, on_disk in receipt.disk.items():
        if on_disk.bytes:
            lines.append(
                f"  {on_disk.bytes} bytes may still lie in the files of {tier}, "
                "and are overwritten while Robi runs."
            )
    return lines
