"""How faces are to be checked: what a request may ask for, and what holds where it asks for nothing."""

from __future__ import annotations

from core.config.settings import Settings
from core.domain.errors import BadInput
from core.domain.recognition import VerifyOptions
from core.domain.search import Strategy
from core.domain.validation import checked_strategy, checked_threshold, checked_top_k
from core.ledger.ledger import Ledger
from core.services.tuning import Tuner


class Options:
    def __init__(self, settings: Settings, ledger: Ledger, tuning: Tuner) -> None:
        self._settings = settings
        self._ledger = ledger
        self._tuning = tuning

    def checked(
        self,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        user_id: str | None = None,
    ) -> VerifyOptions:
        """Checked options, with the settings' defaults filled in. Raises BadInput, NotFound."""
        checked_top_k(top_k)
        if threshold is not None:
            self._check_threshold(threshold)
        if user_id is not None:
            self._ledger.people.one(user_id)
        return VerifyOptions(
            None if strategy is None else checked_strategy(strategy), threshold, user_id, top_k
        )

    def threshold(self, asked: float | None) -> float:
        """The threshold that decides when `asked` is wished for: never a looser one than is tuned, unless
        the server allows that."""
        tuned = self._tuning.now.threshold
        if asked is None or (asked < tuned and not self._settings.robi_allow_looser_threshold):
            return tuned
        return asked

    def strategy(self, options: VerifyOptions) -> Strategy:
        return self._tuning.now.strategy if options.strategy is None else options.strategy

    def _check_threshold(self, threshold: float) -> None:
        checked_threshold(threshold)
        tuned = self._tuning.now.threshold
        if self.threshold(threshold) > threshold:
            raise BadInput(
                "threshold_too_low",
                f"A request may not ask for less than the threshold in effect, {tuned:g}.",
                "Leave it out or ask for more, or let the server allow it: ROBI_ALLOW_LOOSER_THRESHOLD.",
            )
