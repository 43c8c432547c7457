"""Whom a face is compared with, and how."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.domain.bounds import PAGE_SIZE
from core.domain.recognition import VerifyOptions
from core.domain.search import Strategy
from core.services.service import RobiService
from dashboard.shared import resources, verdicts, words

MOST_PEOPLE = int(PAGE_SIZE.high)


def _service() -> RobiService:
    return resources.get().service


def choose_person() -> str | None:
    """Who a face is compared with one to one; None for a search of everybody."""
    mode = st.segmented_control(
        "Check against",
        ["Everybody", "One person"],
        default="Everybody",
        required=True,
        key="verify_mode",
        label_visibility="collapsed",
        help="Everybody: who is this? One person: is this really …?",
    )
    if mode == "Everybody":
        return None
    found = _service().people.listing(limit=MOST_PEOPLE)
    if found.total > MOST_PEOPLE:  # too many to choose from a list
        typed = st.text_input("ID of the person", key="verify_person_id", placeholder="ana-ruiz")
        return typed.strip() or None
    people = {person.user_id: person.name for person in found.items}
    alike = _service().names.shared(people)

    def called(user_id: str) -> str:
        name = people.get(user_id, user_id)
        return f"{name} ({user_id})" if user_id in alike else name

    return st.selectbox(
        "Person",
        people,
        index=None,
        key="verify_person",
        placeholder="Is this really …?",
        label_visibility="collapsed",
        format_func=called,
    )


def choose_how(user_id: str | None) -> VerifyOptions:
    """What the operator chose. What they left alone is None, and so follows the tuning."""
    # Tuned values are part of the keys, so that the controls begin anew when an engineer changes the tuning.
    tuning = _service().tuning.now
    strategy = tuning.strategy
    if user_id is None:  # one to one nothing is searched
        strategy = st.segmented_control(
            "Strategy",
            list(Strategy),
            default=tuning.strategy,
            required=True,
            key=f"verify_strategy_{tuning.strategy}",
            format_func=words.STRATEGY.__getitem__,
            help=words.STRATEGY_HELP,
        )
    loosest = 0.20 if _service().settings.robi_allow_looser_threshold else tuning.threshold
    threshold = st.slider(
        "Threshold",
        min(loosest, tuning.threshold),
        max(0.80, tuning.threshold + 0.05),
        tuning.threshold,
        0.01,
        key=f"verify_threshold_{tuning.threshold}",
        format="%.2f",
        help="Similarity from which a face counts as a person. "
        f"{words.threshold(tuning.threshold)} is in effect; higher is stricter.",
    )
    return VerifyOptions(
        None if strategy == tuning.strategy else Strategy(strategy),
        None if threshold == tuning.threshold else float(threshold),
        user_id,
    )


def details() -> DeltaGenerator:
    return st.expander("Details", icon=":material/tune:")


def wait_for_person() -> None:
    with st.container(border=True):
        verdicts.waiting("Choose the person to compare with")
