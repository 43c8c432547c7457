"""What was tuned is seen, told with its reason, and can be undone."""

from tests.pages.conftest import words_of


def test_without_changes_the_settings_alone_are_shown(open_page, shared):
    at = open_page("settings")
    assert "Changed while running" not in words_of(at)
    assert "tuned to" not in words_of(at)


def test_a_tuned_value_is_shown_beside_its_setting_and_undone_by_a_click(open_page, shared):
    step = shared.service.tuning.tune(
        {"threshold": 0.47, "strategy": "faiss_first"}, "From the <calibration>."
    )
    at = open_page("settings")
    said = words_of(at)
    assert "tuned to 0.47" in said
    assert "tuned to faiss" in said
    assert "From the &lt;calibration&gt;." in said
    at.button(key=f"settings_undo_{step.id}").click().run()
    assert not at.exception
    assert shared.service.tuning.now.threshold == 0.40
    assert "In effect now: As the settings say." in words_of(at)
    assert "tuned to" not in words_of(at)


def test_each_change_says_what_it_changed_and_what_undoing_it_takes_back(open_page, shared):
    first = shared.service.tuning.tune({"threshold": 0.47}, "Monday.")
    second = shared.service.tuning.tune({"strategy": "faiss_first"}, "Tuesday.")
    at = open_page("settings")
    told = next(element.value for element in at.html if "Tuesday." in element.value)
    assert "Strategy Hybrid → <b>Cache first</b>" in told
    assert "Threshold" not in told  # it held before, too
    assert "Threshold 0.40 → <b>0.47</b>" in words_of(at)
    assert at.button(key=f"settings_undo_{second.id}").label == "Undo"
    assert at.button(key=f"settings_undo_{first.id}").label == "Undo from here"
    at.button(key=f"settings_undo_{first.id}").click().run()
    assert (shared.service.tuning.now.threshold, shared.service.tuning.now.strategy) == (0.40, "hybrid")


def test_an_undo_of_what_is_undone_already_says_so(open_page, shared):
    step = shared.service.tuning.tune({"threshold": 0.47}, "one")
    shared.service.tuning.undo(step.id)
    at = open_page("settings")
    at.button(key=f"settings_undo_{step.id}").click().run()
    assert "Nothing would change" in words_of(at)


def test_tuning_is_an_event_with_what_changed_from_where(open_page, shared):
    shared.service.tuning.tune({"threshold": 0.47, "strategy": "faiss_first"}, "Night shift.")
    said = words_of(open_page("events"))
    assert "Threshold 0.40 → <b>0.47</b>" in said
    assert "Strategy Hybrid → <b>Cache first</b>" in said
    assert "Night shift." in said


def test_mergers_and_photo_requests_are_told(open_page, demo):
    first, second = [person.user_id for person in demo.people.listing(limit=2).items]
    demo.people.ask_for_photo(first)
    demo.people.merge(second, into=first)
    said = words_of(open_page("events"))
    assert "was enrolled twice, also as" in said
    assert "the two are one now" in said
    assert "needs a better photo" in said


def test_a_person_whose_photo_was_asked_for_says_so_until_it_is_not_needed(open_page, demo):
    user_id = demo.people.listing(limit=1).items[0].user_id
    demo.people.ask_for_photo(user_id)
    assert "new photo wanted" in words_of(open_page("people"))
    at = open_page("people", person=user_id)
    assert "A better photo is wanted." in words_of(at)
    at.button(key="photo_not_needed").click().run()
    assert demo.people.person(user_id).photo_asked_at is None
    assert "A better photo is wanted." not in words_of(at)


def test_how_small_a_face_may_be_is_changed_here_with_a_reason(open_page, shared):
    at = open_page("settings")
    at.button(key="face_size_change").click().run()
    at.number_input(key="face_size_new").set_value(24)
    at.button(key="face_size_apply").click().run()
    assert "A reason of 1 to 300 characters is needed." in words_of(at)
    assert shared.service.tuning.now.min_eye_distance == 10
    at.text_area(key="face_size_reason").set_value("The gate was repainted.")
    at.button(key="face_size_apply").click().run()
    assert not at.exception
    assert shared.service.tuning.now.min_eye_distance == 24
    said = words_of(at)
    assert "A face needs 24 pixels between the eyes now; it needed 10." in said
    assert "tuned to 24" in said
    assert "The gate was repainted." in said
    assert "Least distance of the eyes 10 px → <b>24 px</b>" in said
    assert not [field for field in at.number_input if field.key == "face_size_new"]
