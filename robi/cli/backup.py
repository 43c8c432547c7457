"""`robi backup` and `robi restore`."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.settings import Settings
from core.domain.errors import BadInput
from core.domain.wording import count
from robi.cli.answers import CommandAnswer
from robi.cli.gallery import settings_of
from robi.cli.usage import Commands, Parser

if TYPE_CHECKING:
    from core.backup.manifest import Manifest
    from core.backup.sealing import Secret

VERIFY = "verify"


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    backup_ = commands.add_parser(
        "backup",
        parents=[*shared, _key()],
        usage="robi backup [options] FILE, or robi backup verify [options] FILE",
        help="write the gallery into a file, while Robi runs or not; or verify such a file",
    )
    backup_.add_argument("words", metavar="[verify] FILE", nargs="+", help="the backup")
    backup_.add_argument("--force", action="store_true", help="overwrite FILE if it is there")
    backup_.set_defaults(command=backup)
    restore_ = commands.add_parser(
        "restore", parents=[*shared, _key()], help="make a gallery of a backup in an empty directory"
    )
    restore_.add_argument("file", metavar="FILE", type=Path, help="the backup")
    restore_.add_argument(
        "--erasures",
        metavar="LIST",
        type=Path,
        action="append",
        default=[],
        help="who was erased since; erasures.list in the data directory and beside FILE are used anyway",
    )
    restore_.set_defaults(command=restore)


def backup(options: argparse.Namespace) -> CommandAnswer:
    from core.backup.making import back_up, check_is_a_file

    *what, name = options.words
    if what not in ([], [VERIFY]):
        raise BadInput("bad_parameter", "Name one file.", "See robi backup --help.")
    settings, file = settings_of(options), Path(name)
    if what:
        return _verified(file, _secret(options, settings))
    check_is_a_file(settings)
    secret = _secret(options, settings, twice=True)
    manifest = back_up(settings.robi_data_dir, file, secret, force=options.force)
    size = file.stat().st_size
    lines = [f"Backed up {_held(manifest)} ({size / 1e6:.1f} MB)."]
    if secret is None:
        lines.append("It is not encrypted: whoever has the file has everybody's faces. See --key-file.")
    return CommandAnswer(lines, {**_json(manifest), "encrypted": secret is not None, "bytes": size})


def restore(options: argparse.Namespace) -> CommandAnswer:
    from core.backup.making import check_is_a_file
    from core.backup.restoring import restore as restored_from

    settings = settings_of(options)
    check_is_a_file(settings)
    lists = [*options.erasures, *_list_of_scheduled_backups(options.file, settings)]
    done = restored_from(options.file, settings.robi_data_dir.absolute(), _secret(options, settings), lists)
    lines = [f"Restored a backup of {_held(done.manifest)}. Start Robi: it fills both vector tiers again."]
    if done.listed_until is None:
        lines.append(
            "WARNING: no list of erasures was found. Whoever was erased after the backup was made is BACK:"
            " erase them again."
        )
    else:
        again = count(done.erased_again, "person", "people")
        lines.append(
            f"  {again} erased again, who had been erased after the backup was made, by a list written last"
            f" at {done.listed_until:%Y-%m-%d %H:%M:%S} UTC."
        )
    if settings.qdrant_url:
        lines.append("  Choose another QDRANT_COLLECTION: the present one may be ahead of the backup.")
    erasures = {
        "lists": done.lists,
        "erased_again": done.erased_again,
        "listed_until": done.listed_until and done.listed_until.isoformat(),
    }
    return CommandAnswer(lines, {**_json(done.manifest), "erasures": erasures})


def _list_of_scheduled_backups(file: Path, settings: Settings) -> list[Path]:
    """Where the backup was copied elsewhere; beside it, the list is found anyway."""
    from core.backup.erasure_list import NAME

    listed = Path(settings.robi_backup_dir, NAME)
    elsewhere = settings.robi_backup_dir and listed.parent.resolve() != file.parent.resolve()
    return [listed] if elsewhere and listed.exists() else []


def _verified(file: Path, secret: Secret | None) -> CommandAnswer:
    from core.backup.restoring import verify

    found = verify(file, secret)
    made = found.manifest
    sealed = "encrypted" if found.encrypted else "not encrypted"
    lines = [
        f"Whole: {_held(made)}.",
        f"  Made at {made.made_at:%Y-%m-%d %H:%M:%S} UTC by Robi {made.robi}, {sealed}.",
        f"  Face pack {made.ledger.pack_id}, gallery {made.ledger.gallery_id}.",
    ]
    return CommandAnswer(lines, {**_json(made), "encrypted": found.encrypted})


def _held(manifest: Manifest) -> str:
    ledger = manifest.ledger
    people = count(ledger.people, "person", "people")
    return f"{people} and {count(ledger.templates, 'template')}, as of change {ledger.seq}"


def _json(manifest: Manifest) -> dict[str, Any]:
    return {**asdict(manifest), "made_at": manifest.made_at.isoformat(), "parts": _parts(manifest)}


def _parts(manifest: Manifest) -> list[dict[str, Any]]:
    return [asdict(part) for part in manifest.parts]


def _key() -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument(
        "--key-file",
        metavar="KEY",
        type=Path,
        help="encrypts and decrypts: a file with a passphrase or random text; left out: ROBI_BACKUP_KEY_FILE",
    )
    parser.add_argument(
        "--passphrase", action="store_true", help="ask for a passphrase instead, or read it from a pipe"
    )
    return parser


def _secret(options: argparse.Namespace, settings: Settings, *, twice: bool = False) -> Secret | None:
    from core.backup.sealing import Secret

    if options.passphrase:
        return Secret(_asked(twice=twice).encode())
    file = options.key_file or settings.robi_backup_key_file
    return Secret.of_file(Path(file)) if file else None


def _asked(*, twice: bool) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    said = getpass.getpass("Passphrase: ")
    if twice and getpass.getpass("Once more: ") != said:
        raise BadInput("bad_parameter", "The two are not the same.", "Try again.")
    return said
