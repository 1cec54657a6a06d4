"""Answers to render, hostile ones too, and what HTML is made of."""

from html.parser import HTMLParser

from lineup.results import Classification, Prediction, StageTimings

EVIL = '<img src=x onerror="alert(1)">'


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data + "\n"


def classification(**changes) -> Classification:
    values = {
        "backbone": "resnet18",
        "predictions": tuple(
            Prediction(index, f"n{index}", label, probability)
            for index, (label, probability) in enumerate([("jay", 0.9), ("crow", 0.0996), ("owl", 0.0004)])
        ),
        "input_size": (224, 256),
        "engine": "torch",
        "device": "cpu",
        "milliseconds": StageTimings(8, 10, 25),
        "label_set": "ImageNet-1k",
        "license": "apache-2.0",
        **changes,
    }
    return Classification(**values)


EVIL_ANSWER = classification(
    backbone=EVIL, predictions=(Prediction(0, EVIL, EVIL, 1.0, EVIL),), label_set=EVIL, license=EVIL, notes=(EVIL,)
)
