"""What a command has to say, for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.domain.errors import RobiError

DONE, NO, FAILED = 0, 1, 2
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """`lines` for people, or `json`; and the exit status."""

    lines: Sequence[str]
    json: Mapping[str, Any]
    status: int = DONE


def give(answer: CommandAnswer, *, as_json: bool) -> int:
    """Write it to standard output; the exit status."""
    text = _text(answer.json) if as_json else "\n".join(answer.lines)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return answer.status


def refuse(problem: RobiError, *, as_json: bool) -> int:
    """Write one sentence, and what to do, to standard error; the exit status."""
    if as_json:
        error = {"code": problem.code, "message": problem.message, "hint": problem.hint}
        detail = {"detail": dict(problem.detail)} if problem.detail else {}
        text = _text({"error": {**error, **detail}})
    else:
        text = " ".join(
            filter(None, (f"robi: {problem.code}:", problem.message, _who(problem), problem.hint))
        )
    sys.stderr.write(f"{text}\n")
    return FAILED


def _who(problem: RobiError) -> str:
    """Whom a duplicate is of; a program finds it in `detail`."""
    if problem.code != "duplicate_person":
        return ""
    return f"It is {problem.detail['user_id']} ({problem.detail['similarity']:.2f})."


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
