"""What the listeners of all pages have in common."""

from lineup.features import FEATURES


def test_no_listener_shows_the_progress_of_gradio(assembled):
    listeners = assembled("backbones: [resnet18]", FEATURES.values()).demo.fns.values()
    assert {"open_page", "listen"} <= {listener.name for listener in listeners}
    assert [(each.name, each.targets) for each in listeners if each.show_progress != "hidden"] == []
