"""Recognising everybody in a photo."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.faces.quality import advice, sentence
from dashboard.shared import pictures, resources, verdicts, widgets, words
from dashboard.verify.choices import choose_how, details


def show(user_id: str | None) -> None:
    service = resources.get().service
    left, right = st.columns([3, 2], gap="medium")
    with left:
        photo = pictures.one_photo("verify", service.settings)
        place = st.container()
        with details():
            options = choose_how(user_id)
    with place:
        if photo is None:
            return
        found = widgets.trying(lambda: pictures.check(service, photo, options))
        if found is None:
            return
        faces = tuple(replace(face, search=service.names.told_apart(face.search)) for face in found.faces)
        st.image(
            pictures.annotated(service, photo.data, faces),
            width="stretch",
            alt=f"The photo with {words.count(len(found.faces), 'face')} marked",
        )
        st.caption(words.stages(found.latency_ms))
    with right:
        for reason in found.warnings:
            st.warning(sentence(reason))
        if not found.faces:
            st.warning("Show the whole face, facing the camera.", title="No face was found in the photo.")
        for number, face in enumerate(faces, start=1):
            with st.container(border=True):
                if len(found.faces) > 1:
                    st.caption(f"Face {number}")
                verdicts.face(face.search, advice(face.face.quality))
