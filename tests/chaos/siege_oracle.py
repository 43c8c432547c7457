"""What was promised, told apart from what is: the journal of a besieged process, kept outside of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A person as last acknowledged."""

    name: str
    ids: frozenset[int]


class Oracle:
    """Reads the journal line by line and collects every broken promise in `lost`, `revived` and `wrong`.

    What was asked and not answered before a kill may have happened or not; the next report settles which.
    """

    def __init__(self) -> None:
        self.people: dict[str, Known] = {}
        self.open: dict[str, Line] = {}  # writes that were asked and not answered, by person; mergers by both
        self.tuning: Line | None = None  # as last acknowledged
        self.retuning: Line | None = None  # asked and not answered
        self.searches: dict[str, tuple[int, bool]] = {}  # when asked, and whether its target was there
        self.gone: dict[int, int] = {}  # templates whose erasure was acknowledged, and when
        self.line = 0
        self.acknowledged: Counter[str] = Counter()
        self.undecided = 0
        self.reports = 0
        self.slowest = 0.0
        self.lost: list[str] = []
        self.revived: list[str] = []
        self.wrong: list[str] = []

    @property
    def broken(self) -> list[str]:
        return [*self.lost, *self.revived, *self.wrong]

    def read(self, line: Line) -> None:
        self.line += 1
        if "wrong" in line:
            self.wrong.append(line["wrong"])
        elif "state" in line:
            self._compare(line)
        elif "ask" in line:
            self._asked(line)
        else:
            self.acknowledged[line["done"]] += 1
            self._done(line)

    def _asked(self, line: Line) -> None:
        match line["ask"]:
            case "search":
                self.searches[line["by"]] = self.line, self._living(line["user"], line["template"])
            case "tune" | "undo":
                self.retuning = line["tuning"]
            case "merge":
                self.open |= {line["user"]: line, line["into"]: line}
            case _:
                self.open[line["user"]] = line

    def _done(self, line: Line) -> None:
        match line["done"]:
            case "rebuild" | "check":
                return
            case "search":
                self._searched(line)
            case "tune" | "undo":
                self._tuned(line)
            case "merge":
                self._merged(line)
            case _:
                self._written(line)

    def _tuned(self, line: Line) -> None:
        if line["tuning"] != self.retuning:
            self.wrong.append(f"tuned to {line['tuning']}, asked was {self.retuning}")
        self.tuning, self.retuning = line["tuning"], None

    def _living(self, user: str, template: int) -> bool:
        asked = self.open.get(user)
        there = user in self.people and template in self.people[user].ids
        leaving = asked is not None and asked["ask"] in ("erase", "merge") and asked["user"] == user
        return there and not leaving

    def _written(self, line: Line) -> None:
        user = line["user"]
        asked, before = self.open.pop(user), self.people.get(user)
        if line["done"] == "erase":
            self.gone |= dict.fromkeys(line["ids"], self.line)
            self.people.pop(user)
            return
        after = _after(asked, before, line.get("ids", ()))
        if after is None or after.name != line["name"]:
            self.wrong.append(f"{user} was acknowledged under the name {line['name']}, expected {after}")
        self.people[user] = Known(line["name"], after.ids if after else frozenset(line.get("ids", ())))

    def _merged(self, line: Line) -> None:
        user, into, new = line["user"], line["into"], frozenset(line["ids"])
        del self.open[user], self.open[into]
        other, kept = self.people.pop(user), self.people[into]
        if line["name"] != kept.name or other.ids != frozenset(line["gone"]) or len(new) != len(other.ids):
            self.wrong.append(f"{user}, {other}, was merged into {into}, {kept}, as {dict(line)}")
        self.gone |= dict.fromkeys(other.ids, self.line)
        self.people[into] = replace(kept, ids=kept.ids | new)

    def _searched(self, line: Line) -> None:
        began, target_was_there = self.searches.pop(line["by"])
        for template in line["seen"]:
            if self.gone.get(template, began) < began:
                self.revived.append(f"{line['strategy']} returned {template}, erased before the search began")
        owner = next((user for user, known in self.people.items() if line["template"] in known.ids), None)
        certain = "faiss" in line["tiers"] or not line["degraded"]
        if not (target_was_there and certain and owner and self._living(owner, line["template"])):
            return
        if not self.people[owner].ids & set(line["seen"]):
            self.lost.append(f"{line['strategy']} did not find {owner}: {dict(line)}")

    def _compare(self, line: Line) -> None:
        self.reports += 1
        self.slowest = max(self.slowest, line["seconds"])
        self.undecided += len(self._undecided()) + (self.retuning is not None)
        found = {user: Known(name, frozenset(ids)) for user, (name, ids) in line["state"].items()}
        self._settle_mergers(found)
        for user in sorted(found.keys() | self.people.keys()):
            self._judge(user, self.people.get(user), found.get(user))
        self._judge_tuning(line["tuning"])
        erased = [i for user, known in self.people.items() if user not in found for i in known.ids]
        self.gone |= dict.fromkeys(erased, self.line)
        self.people, self.open = found, {}
        self._compare_tiers(line, sum(len(known.ids) for known in found.values()))

    def _settle_mergers(self, found: Mapping[str, Known]) -> None:
        """What was asked and has happened in full counts as done, the rest as not begun: both are then judged
        as everybody is."""
        for line in self._undecided():
            if line["ask"] != "merge":
                continue
            user, into = line["user"], line["into"]
            del self.open[user], self.open[into]
            other, kept = self.people[user], self.people[into]
            new = (found[into].ids if into in found else frozenset()) - kept.ids
            if user not in found and len(new) == len(other.ids) and not new & (other.ids | self.gone.keys()):
                del self.people[user]
                self.gone |= dict.fromkeys(other.ids, self.line)
                self.people[into] = replace(kept, ids=kept.ids | new)

    def _undecided(self) -> list[Line]:
        return list({id(line): line for line in self.open.values()}.values())

    def _judge_tuning(self, found: Line) -> None:
        if self.tuning is not None and found not in (self.tuning, self.retuning):
            self.lost.append(f"tuned to {self.tuning}, undecided {self.retuning}, found {found}")
        self.tuning, self.retuning = found, None

    def _judge(self, user: str, expected: Known | None, found: Known | None) -> None:
        asked = self.open.get(user)
        new = sorted((found.ids if found else frozenset()) - (expected.ids if expected else frozenset()))
        if found == expected or (asked and found == _after(asked, expected, new) and len(new) <= 1):
            return
        story = f"{user}: acknowledged {expected}, found {found}, undecided {asked}"
        if found is None or (expected is not None and not expected.ids <= found.ids):
            self.lost.append(story)
        elif expected is None or any(i in self.gone for i in new):
            self.revived.append(story)
        else:
            self.wrong.append(story)

    def _compare_tiers(self, line: Line, templates: int) -> None:
        if not line["settled"]:
            self.wrong.append(f"the tiers did not catch up: {line['tiers']}")
        for tier, (count, lag, error) in line["tiers"].items():
            if (count, lag, line["held"][tier]) != (templates, 0, templates):
                self.wrong.append(
                    f"{tier} has {count} templates ({line['held'][tier]} of the living), lag {lag}, "
                    f"the ledger {templates}; {error}"
                )
        self.wrong += [f"missed {one}" for one in line["missed"]]


def _after(asked: Line, before: Known | None, new: Any) -> Known | None:
    """A person once what was asked has happened."""
    if asked["ask"] == "erase":
        return None
    if asked["ask"] == "rename":
        return None if before is None else replace(before, name=asked["name"])
    if before is None:
        return Known(asked["name"], frozenset(new))
    return replace(before, ids=before.ids | frozenset(new))
