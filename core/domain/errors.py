"""Everything that can be wrong, once: a stable code, one sentence, and the next step.

RobiError             500  internal_error
├── BadInput          400  invalid_name, invalid_user_id, invalid_embedding, invalid_metadata, bad_strategy,
│                          bad_parameter, threshold_too_low
├── Forbidden         403  foreign_origin
├── NotFound          404  unknown_person, unknown_session, unknown_run, unknown_receipt
├── TooSlow           408  request_timeout
├── Conflict          409  duplicate_person, person_exists, cancelled
├── TooLarge          413  image_too_large, too_many_images, metadata_too_large, body_too_large,
│                          archive_too_large
├── Misdirected       421  host_not_allowed
├── UnsupportedImage  415  unsupported_image
├── Unusable          422  not_an_image, image_truncated, image_too_complex, no_face, too_dark,
│                          too_bright, no_usable_photo, empty_gallery, run_unreadable,
│                          not_enough_templates, bad_archive
├── Busy              429  busy, too_many_cameras
├── Unavailable       503  search_unavailable, tier_unavailable, ledger_unavailable, ledger_unreachable,
│                          ledger_refused, ledger_read_only, ledger_crowded, disk_full, not_enough_memory
├── BackupError         –  backup_exists, backup_running, not_a_backup, backup_truncated, backup_damaged,
│                          backup_format, backup_key_needed, backup_wrong_key, gallery_exists,
│                          erasures_unusable, backup_of_server
└── StartError          –  invalid_setting, port_in_use, address_unusable, data_dir_locked, data_dir_unusable,
                           library_missing, ledger_too_new, ledger_unavailable, ledger_unreachable,
                           ledger_refused, ledger_read_only, ledger_crowded, ledger_unfit, ledger_foreign,
                           ledger_mismatch, ledger_unfinished, ledger_not_empty, pack_missing, pack_damaged,
                           pack_mismatch, collection_mismatch, qdrant_unauthorized, qdrant_untrusted,
                           qdrant_incompatible

Messages never hold a name from a request, an embedding, an image, or a path inside the server.
`api.errors` maps the tree to HTTP, `dashboard.shared.widgets` to the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from core.domain.json_values import Json


class RobiError(Exception):
    """`code` is stable and machine-readable; `message` and `hint` are for people."""

    status: ClassVar[int] = 500

    def __init__(
        self, code: str, message: str, hint: str = "", *, detail: Mapping[str, Json] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.detail: Mapping[str, Json] = detail or {}


class BadInput(RobiError):
    status = 400


class Forbidden(RobiError):
    status = 403


class NotFound(RobiError):
    status = 404


class TooSlow(RobiError):
    status = 408


class Conflict(RobiError):
    status = 409


class TooLarge(RobiError):
    status = 413


class Misdirected(RobiError):
    status = 421


class UnsupportedImage(RobiError):
    status = 415


class Unusable(RobiError):
    status = 422


class Busy(RobiError):
    status = 429


class Unavailable(RobiError):
    status = 503


class BackupError(RobiError):
    """A backup cannot be made, read or restored; nothing was changed. Told by the command alone."""

    status = 422


class StartError(RobiError):
    """Robi cannot start. Shown as one line on the terminal."""

    status = 503
