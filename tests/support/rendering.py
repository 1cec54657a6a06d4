"""Classifications to render, with hostile text too, and a parser of HTML tags."""

from html.parser import HTMLParser

from lineup.results import Classification, Prediction, StageTimings

HOSTILE = '<img src=x onerror="alert(1)">'


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if data.strip():  # not the white space between elements
            self.text += data.strip() + "\n"


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


HOSTILE_ANSWER = classification(
    backbone=HOSTILE,
    predictions=(Prediction(0, HOSTILE, HOSTILE, 1.0, HOSTILE),),
    label_set=HOSTILE,
    license=HOSTILE,
    notes=(HOSTILE,),
)
