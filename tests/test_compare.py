import json
from itertools import combinations, permutations

import pytest

from lineup import labels
from lineup.compare import Agreement, Camp, Voice, agreement, same, share
from lineup.labels import Label, LabelSet
from lineup.registry import wordnet
from lineup.results import Classification, Milliseconds, Prediction

TOWN = labels.from_names(["traffic light", "beacon", "maze", "candle", "cup"], "town.txt")
FIELD = labels.from_names(["maze", "candle", "barn"], "field.txt")  # no traffic light
PETS = labels.from_names(["my hamster", "my mouse", "my snail"], "pets.txt")
FOOD = labels.from_names(["soup", "bread"], "food.txt")
CRANE_BIRD, CRANE_MACHINE = "n02012849", "n03126707"
TRAFFIC_LIGHT, BEACON, COONHOUND, OTTERHOUND = "n06874185", "n02814860", "n02089078", "n02091635"
HEADS = ["imagenet-1k", "imagenet-12k", "imagenet-22k", "imagenet-22k-ms", "imagenet-21k-goog", "imagenet-21k-miil"]


def voice(backbone, known, *found, margin=None):
    """Make an answer of (class, probability) pairs; a class is an index, a WordNet id or a name."""
    ids, names = [label.id for label in known.labels], [label.name for label in known.labels]
    predictions = []
    for wanted, probability in found:
        index = wanted if isinstance(wanted, int) else (ids if wanted in ids else names).index(wanted)
        predictions.append(Prediction(index, ids[index], known.display_names[index], probability))
    if margin is None:
        margin = found[0][1] - (found[1][1] if len(found) > 1 else 0)
    answer = Classification(
        backbone, tuple(predictions), (224, 224), "torch", "cpu", Milliseconds(1, 1, 1), known.origin, "mit", margin
    )
    return Voice(answer, known)


def town(backbone, first="traffic light", second="beacon", known=TOWN):
    return voice(backbone, known, (first, 0.8), (second, 0.1))


def field(backbone, first="maze", second="barn"):
    return town(backbone, first, second, FIELD)


def pets(backbone, first="my hamster", second="my snail"):
    return town(backbone, first, second, PETS)


def imagenet(backbone, first, second):
    return town(backbone, first, second, wordnet.imagenet("imagenet-1k"))


def says(*voices, failed=()):
    return agreement(voices, failed).sentence


SURE = "(80%, 70 points before beacon)"
BARN = "(80%, 70 points before barn)"
SNAIL = "(80%, 70 points before my snail)"


def test_nobody_answered():
    assert agreement([]) == Agreement("No backbone answered.", None, (), ())
    assert agreement([], ["a"]) == Agreement("No backbone answered.", None, (), ())


def test_one_voice_agrees_with_nobody():
    camp = Camp(None, "maze", ("a",))
    assert agreement([town("a", "maze")]) == Agreement(f"a says maze {SURE}.", None, (camp,), ())


def test_all_agree():
    told = f"All 3 say traffic light: a {SURE}, b {SURE} and c {SURE}."
    camp = Camp(None, "traffic light", ("a", "b", "c"))
    assert agreement([town("a"), town("b"), town("c")]) == Agreement(told, camp, (camp,), ())
    assert says(town("a"), town("b")) == f"Both say traffic light: a {SURE} and b {SURE}."


def test_a_majority_and_its_dissenters():
    answers = [town("c", "maze"), town("a"), town("b")]
    told = f"2 of 3 say traffic light: a {SURE} and b {SURE}. c says maze {SURE}."
    camps = (Camp(None, "traffic light", ("a", "b")), Camp(None, "maze", ("c",)))
    assert agreement(answers) == Agreement(told, camps[0], camps, ())
    agree = f"3 of 5 say traffic light: a {SURE}, b {SURE} and c {SURE}. "
    three = [town("a"), town("b"), town("c")]
    two = f"d says maze {SURE} and e says candle {SURE}."
    assert says(*three, town("d", "maze"), town("e", "candle")) == agree + two
    together = f"2 say maze: d {SURE} and e {SURE}."
    assert says(*three, town("d", "maze"), town("e", "maze")) == agree + together


def test_dissenters_in_camps_and_alone():
    four = [town(name) for name in "abcd"]
    told = says(*four, town("e", "cup"), town("f", "maze"), town("g", "maze"))
    dissent = f"2 say maze: f {SURE} and g {SURE}; e says cup {SURE}."
    assert told == f"4 of 7 say traffic light: a {SURE}, b {SURE}, c {SURE} and d {SURE}. {dissent}"


def test_a_dissenter_may_not_know_the_class_of_the_majority():
    agree = f"2 of 3 say traffic light: a {SURE} and b {SURE}. "
    assert says(town("a"), town("b"), field("c")) == (f"{agree}c, which has no class traffic light, says maze {BARN}.")
    told = says(town("a"), town("b"), town("c"), field("d"), town("e", "maze"))
    agree = f"3 of 5 say traffic light: a {SURE}, b {SURE} and c {SURE}. "
    lacking = "d (80%, 70 points before barn; it has no class traffic light)"
    assert told == f"{agree}2 say maze: {lacking} and e {SURE}."


def test_there_may_be_no_majority():
    tie = [town("c", "maze"), town("a"), town("b"), town("d", "maze")]
    told = f"No majority: 2 of 4 say maze: c {SURE} and d {SURE}; 2 say traffic light: a {SURE} and b {SURE}."
    camps = (Camp(None, "maze", ("c", "d")), Camp(None, "traffic light", ("a", "b")))
    assert agreement(tie) == Agreement(told, None, camps, ())
    told = says(town("a"), town("b"), town("c", "maze"), town("d", "cup"))
    agree = f"No majority: 2 of 4 say traffic light: a {SURE} and b {SURE}; "
    assert told == f"{agree}c says maze {SURE} and d says cup {SURE}."


def test_no_two_may_agree():
    told = f"No two agree: a says traffic light {SURE}, b says maze {SURE} and c says cup {SURE}."
    found = agreement([town("a"), town("b", "maze"), town("c", "cup")])
    assert (found.sentence, found.majority, [camp.label for camp in found.camps]) == (
        told,
        None,
        ["traffic light", "maze", "cup"],
    )
    assert says(town("a"), town("b", "maze")) == (
        f"The two disagree: a says traffic light {SURE} and b says maze {SURE}."
    )


def test_who_shares_no_class_is_apart():
    agree = f"Both say traffic light: a {SURE} and b {SURE}."
    found = agreement([pets("p"), town("a"), town("b")])
    told = f"{agree} p knows other classes and is compared with nobody: it says my hamster {SNAIL}."
    camp = Camp(None, "traffic light", ("a", "b"))
    assert found == Agreement(told, camp, (camp,), ("p",))
    soup = voice("q", FOOD, ("soup", 0.6), ("bread", 0.4))
    found = agreement([town("a"), pets("p"), town("b"), soup])
    assert found.apart == ("p", "q")
    assert found.sentence == (
        f"{agree} p and q know other classes and are compared with nobody: "
        f"p says my hamster {SNAIL} and q says soup (60%, 20 points before bread)."
    )


def test_all_may_be_apart():
    found = agreement([town("a"), pets("p")])
    told = f"a says traffic light {SURE} and p says my hamster {SNAIL}."
    sentence = f"Nothing can be compared, because these backbones share no classes: {told}"
    assert found == Agreement(sentence, None, (), ("a", "p"))


def test_unnamed_classes_are_compared_with_nobody():
    known = labels.numbered(5)
    unnamed = [voice(name, known, (3, 0.8), (1, 0.1)) for name in "uv"]
    sure = "class 3 (80%, 70 points before class 1)"
    found = agreement([town("a"), town("b"), unnamed[0]])
    assert (found.apart, found.sentence) == (
        ("u",),
        f"Both say traffic light: a {SURE} and b {SURE}. "
        f"u shares no named class with the others and is compared with nobody: it says {sure}.",
    )
    assert says(town("a"), town("b"), *unnamed, pets("p")).endswith(
        " u, v and p share no named class with the others and are compared with nobody: "
        f"u says {sure}, v says {sure} and p says my hamster {SNAIL}."
    )
    assert says(*unnamed) == (
        f"Nothing can be compared, because these backbones share no named classes: u says {sure} and v says {sure}."
    )
    assert says(unnamed[0]) == f"u says {sure}."


def test_two_circles_are_told_apart():
    found = agreement([pets("p"), town("a", "maze"), pets("q"), town("b"), town("c")])
    camps = (
        Camp(None, "my hamster", ("p", "q")),
        Camp(None, "traffic light", ("b", "c")),
        Camp(None, "maze", ("a",)),
    )
    told = f"2 of 3 say traffic light: b {SURE} and c {SURE}. a says maze {SURE}."
    other = f"Among those with other classes, both say my hamster: p {SNAIL} and q {SNAIL}."
    assert found == Agreement(f"{told} {other}", camps[1], camps, ())
    soup = voice("s", FOOD, ("soup", 0.6), ("bread", 0.4))
    found = agreement([pets("p"), pets("q", "my mouse"), town("a"), soup, town("b")])
    hamster = f"The two disagree: p says my hamster {SNAIL} and q says my mouse {SNAIL}."
    town_says = f"Among those with other classes, both say traffic light: a {SURE} and b {SURE}."
    alone = "s knows other classes and is compared with nobody: it says soup (60%, 20 points before bread)."
    assert (found.sentence, found.majority) == (f"{hamster} {town_says} {alone}", None)
    assert found.camps[0] == Camp(None, "traffic light", ("a", "b"))


def test_two_sets_may_be_comparable_through_a_third():
    bridge = labels.from_names(["cup", "my hamster"], "bridge.txt")
    asked = [town("a"), pets("p"), voice("c", bridge, ("cup", 0.8), ("my hamster", 0.1))]
    for order in permutations(asked):
        assert agreement(order).apart == ()
        assert says(*order).startswith("No two agree: ")


def test_who_did_not_answer_is_named():
    both = f"Both say traffic light: a {SURE} and b {SURE}."
    answers = [town("a"), town("b")]
    assert says(*answers, failed=["resnet18"]) == f"{both} resnet18 did not answer."
    assert says(*answers, failed=["resnet18", "c"]) == f"{both} resnet18 and c did not answer."
    assert says(*answers, failed=["d", "resnet18", "c"]) == f"{both} d, resnet18 and c did not answer."
    assert says(answers[0], failed=["c"]) == f"a says traffic light {SURE}. c did not answer."


ROUNDED = [
    (0.975, 0.025, "98%, 95 points"),
    (0.9951, 0.0049, "over 99%, 99 points"),
    (0.9999, 0.0001, "over 99%, over 99 points"),
    (1.0, 0.0, "100%, 100 points"),
    (0.004, 0.0039, "under 1%, under 1 point"),
    (0.5, 0.5, "50%, under 1 point"),
    (0.4, 0.396, "40%, under 1 point"),
    (0.4, 0.39, "40%, 1 point"),
    (0.4, 0.38, "40%, 2 points"),
]


@pytest.mark.parametrize(("first", "second", "told"), ROUNDED)
def test_rounding_never_says_more_than_is_known(first, second, told):
    answer = voice("resnet18", TOWN, ("maze", first), ("beacon", second))
    assert says(answer) == f"resnet18 says maze ({told} before beacon)."


def test_one_kept_class_still_has_a_margin():
    told = "Both say maze: a (98%, 95 points ahead) and b (98%, 1 point ahead)."
    one = [voice(name, TOWN, ("maze", 0.98), margin=margin) for name, margin in [("a", 0.95), ("b", 0.01)]]
    assert says(*one) == told


def test_a_head_of_one_class_is_ahead_of_nothing():
    known = labels.from_names(["maze"], "one.txt")
    only = voice("a", known, ("maze", 1.0), margin=1.0)
    assert says(only, field("b")) == f"Both say maze: a (100%, its only class) and b {BARN}."


@pytest.mark.parametrize(("one", "other"), list(combinations(HEADS, 2)))
def test_imagenet_heads_agree_by_id(one, other):
    assert share(wordnet.imagenet(one), wordnet.imagenet(other))
    found = agreement([town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in (one, other)])
    assert found.sentence == f"Both say traffic light: {one} {SURE} and {other} {SURE}."
    assert found.majority == Camp(TRAFFIC_LIGHT, "traffic light", (one, other))


def test_imagenet_12k_and_21k_lack_some_classes_of_1k():
    hounds = [COONHOUND, OTTERHOUND]
    heads = ["imagenet-1k", "imagenet-22k"]
    others = ["imagenet-12k", "imagenet-21k-miil"]
    agree = [town(head, *hounds, wordnet.imagenet(head)) for head in heads]
    dissent = [town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in others]
    before = "(80%, 70 points before otterhound)"
    told = f"black-and-tan coonhound: imagenet-1k {before} and imagenet-22k {before}"
    for one in dissent:
        lacking = f"{one.answer.backbone}, which has no class black-and-tan coonhound, says traffic light {SURE}."
        assert says(*agree, one) == f"2 of 3 say {told}. {lacking}"
    light = f"2 say traffic light: imagenet-12k {SURE} and imagenet-21k-miil {SURE}"
    assert says(*agree, *dissent) == f"No majority: 2 of 4 say {told}; {light}."


def test_ids_go_before_names():
    bird, machine, loanword = Label(CRANE_BIRD, "crane"), Label(CRANE_MACHINE, "crane"), Label(CRANE_BIRD, "Kranich")
    bare = Label(None, "Crane")
    assert same(bird, loanword)
    assert not same(bird, machine)
    assert same(bird, bare)
    assert same(bare, machine)
    assert not same(bare, loanword)


def test_one_class_may_have_two_names():
    german = LabelSet((Label(CRANE_BIRD, "Kranich"), Label(TRAFFIC_LIGHT, "Ampel")), "deutsch")
    told = agreement([town("a", TRAFFIC_LIGHT, CRANE_BIRD, german), imagenet("b", TRAFFIC_LIGHT, BEACON)])
    assert told.sentence == f"Both say Ampel: a (80%, 70 points before Kranich) and b {SURE}."
    assert told.majority == Camp(TRAFFIC_LIGHT, "Ampel", ("a", "b"))


def test_two_classes_may_have_one_name():
    cranes = [imagenet("a", CRANE_BIRD, BEACON), imagenet("b", CRANE_MACHINE, BEACON)]
    found = agreement(cranes)
    told = f"a says crane ({CRANE_BIRD}) {SURE} and b says crane ({CRANE_MACHINE}) {SURE}."
    assert found.sentence == f"The two disagree: {told}"
    assert [(camp.id, camp.label) for camp in found.camps] == [
        (CRANE_BIRD, f"crane ({CRANE_BIRD})"),
        (CRANE_MACHINE, f"crane ({CRANE_MACHINE})"),
    ]
    assert says(imagenet("a", CRANE_BIRD, CRANE_MACHINE)) == (
        f"a says crane (80%, 70 points before crane ({CRANE_MACHINE}))."
    )
    assert says(imagenet("a", BEACON, CRANE_BIRD)) == "a says beacon (80%, 70 points before crane)."


def test_a_bare_name_agrees_with_an_id():
    bare = labels.from_names(["Traffic Light", "beacon"], "mine.txt")
    found = agreement([town("a", "Traffic Light", "beacon", bare), imagenet("b", TRAFFIC_LIGHT, BEACON)])
    assert found.sentence == f"Both say Traffic Light: a {SURE} and b {SURE}."
    assert found.majority == Camp(TRAFFIC_LIGHT, "Traffic Light", ("a", "b"))


def test_a_bare_crane_joins_neither_of_two_cranes():
    bare = labels.from_names(["crane", "beacon"], "mine.txt")
    bird, machine = imagenet("bird", CRANE_BIRD, BEACON), imagenet("machine", CRANE_MACHINE, BEACON)
    one, two = town("one", "crane", "beacon", bare), town("two", "crane", "beacon", bare)
    for order in permutations([bird, machine, one]):
        assert {camp.backbones for camp in agreement(order).camps} == {("bird",), ("machine",), ("one",)}
    assert agreement([one, machine]).majority == Camp(CRANE_MACHINE, "crane", ("one", "machine"))
    for order in permutations([bird, machine, one, two]):
        first, *rest = agreement(order).camps
        assert (first.id, first.label, set(first.backbones)) == (None, "crane", {"one", "two"})
        assert {camp.id for camp in rest} == {CRANE_BIRD, CRANE_MACHINE}


def test_a_bare_name_joins_only_if_it_is_every_members():
    german = LabelSet((Label(CRANE_BIRD, "Kranich"), Label(BEACON, "beacon")), "deutsch")
    bare = labels.from_names(["crane", "beacon"], "mine.txt")
    asked = [
        town("c", "crane", "beacon", bare),
        imagenet("a", CRANE_BIRD, BEACON),
        town("b", CRANE_BIRD, BEACON, german),
    ]
    assert [camp.backbones for camp in agreement(asked).camps] == [("a", "b"), ("c",)]


PARTLY = labels.from_hub(["n02123045", "n02099601", "my hamster"], None, wordnet.wordnet(), "owner/repo")


def test_some_classes_may_have_ids_and_others_none():
    assert [label.id for label in PARTLY.labels] == ["n02123045", "n02099601", None]
    tabby, other = town("a", "n02123045", "n02099601", PARTLY), imagenet("b", "n02123045", "n02099601")
    retriever = "(80%, 70 points before golden retriever)"
    assert says(tabby, other) == f"Both say tabby: a {retriever} and b {retriever}."
    hamster = town("a", "my hamster", "n02099601", PARTLY)
    assert says(hamster, pets("p")) == f"Both say my hamster: a {retriever} and p {SNAIL}."
    assert says(hamster, other, imagenet("c", "n02123045", "n02099601")) == (
        f"2 of 3 say tabby: b {retriever} and c {retriever}. a says my hamster {retriever}."
    )
    assert says(pets("p"), other).startswith("Nothing can be compared, ")


SHARED = [
    (TOWN, TOWN, True),
    (TOWN, FIELD, True),
    (TOWN, PETS, False),
    (TOWN, labels.from_names(["Cup"], "x"), True),
    (TOWN, labels.from_names(["CUP", *"abcdef"], "x"), True),
    (TOWN, LabelSet((Label(BEACON, "Beacon"),), "x"), True),
    (TOWN, wordnet.imagenet("imagenet-22k"), True),
    (PETS, wordnet.imagenet("imagenet-22k"), False),
    (PARTLY, PETS, True),
    (PARTLY, wordnet.imagenet("imagenet-1k"), True),
    (labels.numbered(3), labels.numbered(3), False),
    (labels.numbered(3), labels.from_names(["class 1"], "x"), False),
    (LabelSet((Label("n1", "crane"),), "x"), LabelSet((Label("n2", "crane"),), "y"), False),
]


@pytest.mark.parametrize(("a", "b", "shared"), SHARED)
def test_sets_share_a_class_or_not(a, b, shared):
    assert share(a, b) is share(b, a) is shared
    if len(b) < 1000:
        assert shared is (a.named and b.named and any(same(one, other) for one in a.labels for other in b.labels))


def test_an_unnamed_set_does_not_even_share_with_itself():
    known = labels.numbered(3)
    assert share(known, known) is False


def test_the_order_asked_changes_no_verdict():
    asked = [town("a"), town("b"), field("c"), pets("p"), imagenet("d", TRAFFIC_LIGHT, BEACON)]
    for order in permutations(asked):
        found = agreement(order)
        names = [each.answer.backbone for each in order]
        agreeing = tuple(name for name in names if name in "abd")
        assert found.majority == Camp(TRAFFIC_LIGHT, "traffic light", agreeing)
        assert (found.camps[1:], found.apart) == ((Camp(None, "maze", ("c",)),), ("p",))


def test_programs_get_the_parts():
    camp = {"id": None, "label": "traffic light", "backbones": ["a", "b"]}
    found = agreement([town("a"), town("b"), field("c"), pets("p")])
    told = {
        "sentence": found.sentence,
        "majority": camp,
        "camps": [camp, {"id": None, "label": "maze", "backbones": ["c"]}],
        "apart": ["p"],
    }
    assert found.to_json() == told == json.loads(json.dumps(found.to_json()))
    assert agreement([]).to_json() == {"sentence": "No backbone answered.", "majority": None, "camps": [], "apart": []}
