import json
from itertools import combinations, permutations

import pytest

from lineup.analysis.agreement import Agreement, Group, Vote, agreement, same, share
from lineup.registry import labels, wordnet
from lineup.registry.labels import Label, LabelSet
from lineup.results import Classification, Prediction, StageTimings

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
        backbone, tuple(predictions), (224, 224), "torch", "cpu", StageTimings(1, 1, 1), known.origin, "mit", margin
    )
    return Vote(answer, known)


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


def test_nobody_answered():
    assert agreement([]) == Agreement("No backbone answered.", None, (), ())
    assert agreement([], ["a"]) == Agreement("No backbone answered.", None, (), ())


def test_one_voice_agrees_with_nobody():
    group = Group(None, "maze", ("a",))
    assert agreement([town("a", "maze")]) == Agreement("a says maze.", None, (group,), ())


def test_all_agree():
    group = Group(None, "traffic light", ("a", "b", "c"))
    found = agreement([town("a"), town("b"), town("c")])
    assert found == Agreement("All 3 say traffic light.", group, (group,), ())
    assert says(town("a"), town("b")) == "Both say traffic light."


def test_a_majority_and_its_dissenters():
    answers = [town("c", "maze"), town("a"), town("b")]
    groups = (Group(None, "traffic light", ("a", "b")), Group(None, "maze", ("c",)))
    assert agreement(answers) == Agreement("2 of 3 say traffic light, 1 says maze.", groups[0], groups, (), ("c",))
    three = [town("a"), town("b"), town("c")]
    told = "3 of 5 say traffic light, 1 says maze, 1 says candle."
    assert says(*three, town("d", "maze"), town("e", "candle")) == told
    assert says(*three, town("d", "maze"), town("e", "maze")) == "3 of 5 say traffic light, 2 say maze."


def test_dissenters_in_camps_and_alone():
    told = says(*map(town, "abcd"), town("e", "cup"), town("f", "maze"), town("g", "maze"))
    assert told == "4 of 7 say traffic light, 2 say maze, 1 says cup."


def test_a_sentence_lists_three_other_answers_at_most():
    wide = labels.from_names([f"thing {index}" for index in range(9)], "wide.txt")
    others = [town(f"b{index}", f"thing {index}", "thing 8", wide) for index in range(1, 5)]
    five = [town(f"a{index}", "thing 0", "thing 8", wide) for index in range(5)]
    assert says(*five, *others[:3]) == "5 of 8 say thing 0, 1 says thing 1, 1 says thing 2, 1 says thing 3."
    assert says(*five, *others) == "5 of 9 say thing 0, the others are split over 4 answers."
    assert says(*others[:3]) == "No two agree: thing 1, thing 2 or thing 3."
    assert says(*others) == "No two agree."
    pairs = [town(f"{side}{index}", f"thing {index}", "thing 8", wide) for index in range(5) for side in "ab"]
    assert says(*pairs) == "No majority: 10 backbones give 5 different answers."


def test_a_dissenter_may_not_know_the_class_of_the_majority():
    found = agreement([town("a"), town("b"), field("c"), pets("p"), pets("q")])
    assert (found.dissenting, found.lacking) == (
        ("c",),
        ("c",),
    )  # p and q know other classes: they dissent from nothing
    found = agreement([town("a"), town("b"), field("c")])
    assert (found.sentence, found.lacking) == ("2 of 3 say traffic light, 1 says maze.", ("c",))
    found = agreement([town("a"), town("b"), town("c"), field("d"), town("e", "maze")])
    assert (found.sentence, found.lacking) == ("3 of 5 say traffic light, 2 say maze.", ("d",))
    assert agreement([town("a"), town("b"), town("c", "maze")]).lacking == ()


def test_without_a_majority_nobody_lacks_its_class():
    assert agreement([town("a"), field("c")]).lacking == ()


def test_there_may_be_no_majority():
    tie = [town("c", "maze"), town("a"), town("b"), town("d", "maze")]
    groups = (Group(None, "maze", ("c", "d")), Group(None, "traffic light", ("a", "b")))
    told = "No majority: 2 of 4 say maze, 2 say traffic light."
    assert agreement(tie) == Agreement(told, None, groups, ())
    told = says(town("a"), town("b"), town("c", "maze"), town("d", "cup"))
    assert told == "No majority: 2 of 4 say traffic light, 1 says maze, 1 says cup."


def test_no_two_may_agree():
    found = agreement([town("a"), town("b", "maze"), town("c", "cup")])
    assert (found.sentence, found.majority) == ("No two agree: traffic light, maze or cup.", None)
    assert [group.label for group in found.groups] == ["traffic light", "maze", "cup"]
    assert says(town("a"), town("b", "maze")) == "The two disagree: traffic light or maze."


def test_who_shares_no_class_is_apart():
    both = "Both say traffic light."
    found = agreement([pets("p"), town("a"), town("b")])
    group = Group(None, "traffic light", ("a", "b"))
    assert found == Agreement(f"{both} p knows other classes, so it is not compared.", group, (group,), ("p",))
    soup = voice("q", FOOD, ("soup", 0.6), ("bread", 0.4))
    found = agreement([town("a"), pets("p"), town("b"), soup])
    assert found.not_comparable == ("p", "q")
    assert found.sentence == f"{both} p and q know other classes, so they are not compared."


def test_all_may_be_apart():
    sentence = "Nothing can be compared: these backbones share no classes."
    assert agreement([town("a"), pets("p")]) == Agreement(sentence, None, (), ("a", "p"))


def test_unnamed_classes_are_compared_with_nobody():
    known = labels.numbered(5)
    unnamed = [voice(name, known, (3, 0.8), (1, 0.1)) for name in "uv"]
    found = agreement([town("a"), town("b"), unnamed[0]])
    told = "Both say traffic light. u shares no named class with the others, so it is not compared."
    assert (found.not_comparable, found.sentence) == (("u",), told)
    told = " u, v and p share no named class with the others, so they are not compared."
    assert says(town("a"), town("b"), *unnamed, pets("p")).endswith(told)
    assert says(*unnamed) == "Nothing can be compared: these backbones share no named classes."
    assert says(unnamed[0]) == "u says class 3."


def test_two_circles_are_told_apart():
    found = agreement([pets("p"), town("a", "maze"), pets("q"), town("b"), town("c")])
    groups = (
        Group(None, "my hamster", ("p", "q")),
        Group(None, "traffic light", ("b", "c")),
        Group(None, "maze", ("a",)),
    )
    told = "2 of 3 say traffic light, 1 says maze. Among those with other classes, both say my hamster."
    assert found == Agreement(told, groups[1], groups, (), ("a",))
    soup = voice("s", FOOD, ("soup", 0.6), ("bread", 0.4))
    found = agreement([pets("p"), pets("q", "my mouse"), town("a"), soup, town("b")])
    assert (found.sentence, found.majority) == (
        "The two disagree: my hamster or my mouse. Among those with other classes, both say traffic light. "
        "s knows other classes, so it is not compared.",
        None,
    )
    assert found.groups[0] == Group(None, "traffic light", ("a", "b"))


def test_two_sets_may_be_comparable_through_a_third():
    bridge = labels.from_names(["cup", "my hamster"], "bridge.txt")
    asked = [town("a"), pets("p"), voice("c", bridge, ("cup", 0.8), ("my hamster", 0.1))]
    for order in permutations(asked):
        assert agreement(order).not_comparable == ()
        assert says(*order).startswith("No two agree: ")


def test_who_did_not_answer_is_named():
    both, answers = "Both say traffic light.", [town("a"), town("b")]
    assert says(*answers, failed=["resnet18"]) == f"{both} resnet18 did not answer."
    assert says(*answers, failed=["resnet18", "c"]) == f"{both} resnet18 and c did not answer."
    assert says(*answers, failed=["d", "resnet18", "c"]) == f"{both} d, resnet18 and c did not answer."
    assert says(*answers, failed=["d", "resnet18", "c", "e"]) == f"{both} 4 did not answer."
    assert says(answers[0], failed=["c"]) == "a says traffic light. c did not answer."


@pytest.mark.parametrize(("one", "other"), list(combinations(HEADS, 2)))
def test_imagenet_heads_agree_by_id(one, other):
    assert share(wordnet.imagenet(one), wordnet.imagenet(other))
    found = agreement([town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in (one, other)])
    assert found.sentence == "Both say traffic light."
    assert found.majority == Group(TRAFFIC_LIGHT, "traffic light", (one, other))


def test_imagenet_12k_and_21k_lack_some_classes_of_1k():
    hounds = [COONHOUND, OTTERHOUND]
    heads = ["imagenet-1k", "imagenet-22k"]
    others = ["imagenet-12k", "imagenet-21k-miil"]
    agree = [town(head, *hounds, wordnet.imagenet(head)) for head in heads]
    dissent = [town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in others]
    for one in dissent:
        found = agreement([*agree, one])
        assert found.sentence == "2 of 3 say black-and-tan coonhound, 1 says traffic light."
        assert found.lacking == (one.answer.backbone,)
    found = agreement([*agree, *dissent])
    assert found.sentence == "No majority: 2 of 4 say black-and-tan coonhound, 2 say traffic light."


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
    assert told.sentence == "Both say Ampel."
    assert told.majority == Group(TRAFFIC_LIGHT, "Ampel", ("a", "b"))


def test_two_classes_may_have_one_name():
    cranes = [imagenet("a", CRANE_BIRD, BEACON), imagenet("b", CRANE_MACHINE, BEACON)]
    found = agreement(cranes)
    assert found.sentence == f"The two disagree: crane ({CRANE_BIRD}) or crane ({CRANE_MACHINE})."
    assert [(group.id, group.label) for group in found.groups] == [
        (CRANE_BIRD, f"crane ({CRANE_BIRD})"),
        (CRANE_MACHINE, f"crane ({CRANE_MACHINE})"),
    ]
    assert says(imagenet("a", CRANE_BIRD, CRANE_MACHINE)) == "a says crane."


def test_a_bare_name_agrees_with_an_id():
    bare = labels.from_names(["Traffic Light", "beacon"], "mine.txt")
    found = agreement([town("a", "Traffic Light", "beacon", bare), imagenet("b", TRAFFIC_LIGHT, BEACON)])
    assert found.sentence == "Both say Traffic Light."
    assert found.majority == Group(TRAFFIC_LIGHT, "Traffic Light", ("a", "b"))


def test_a_bare_crane_joins_neither_of_two_cranes():
    bare = labels.from_names(["crane", "beacon"], "mine.txt")
    bird, machine = imagenet("bird", CRANE_BIRD, BEACON), imagenet("machine", CRANE_MACHINE, BEACON)
    one, two = town("one", "crane", "beacon", bare), town("two", "crane", "beacon", bare)
    for order in permutations([bird, machine, one]):
        assert {group.backbones for group in agreement(order).groups} == {("bird",), ("machine",), ("one",)}
    assert agreement([one, machine]).majority == Group(CRANE_MACHINE, "crane", ("one", "machine"))
    for order in permutations([bird, machine, one, two]):
        first, *rest = agreement(order).groups
        assert (first.id, first.label, set(first.backbones)) == (None, "crane", {"one", "two"})
        assert {group.id for group in rest} == {CRANE_BIRD, CRANE_MACHINE}


def test_a_bare_name_joins_only_if_it_is_every_members():
    german = LabelSet((Label(CRANE_BIRD, "Kranich"), Label(BEACON, "beacon")), "deutsch")
    bare = labels.from_names(["crane", "beacon"], "mine.txt")
    asked = [
        town("c", "crane", "beacon", bare),
        imagenet("a", CRANE_BIRD, BEACON),
        town("b", CRANE_BIRD, BEACON, german),
    ]
    assert [group.backbones for group in agreement(asked).groups] == [("a", "b"), ("c",)]


PARTLY = labels.from_hub(["n02123045", "n02099601", "my hamster"], None, wordnet.wordnet(), "owner/repo")


def test_some_classes_may_have_ids_and_others_none():
    assert [label.id for label in PARTLY.labels] == ["n02123045", "n02099601", None]
    tabby, other = town("a", "n02123045", "n02099601", PARTLY), imagenet("b", "n02123045", "n02099601")
    assert says(tabby, other) == "Both say tabby."
    hamster = town("a", "my hamster", "n02099601", PARTLY)
    assert says(hamster, pets("p")) == "Both say my hamster."
    told = says(hamster, other, imagenet("c", "n02123045", "n02099601"))
    assert told == "2 of 3 say tabby, 1 says my hamster."
    assert says(pets("p"), other).startswith("Nothing can be compared: ")


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
        assert found.majority == Group(TRAFFIC_LIGHT, "traffic light", agreeing)
        assert (found.groups[1:], found.not_comparable) == ((Group(None, "maze", ("c",)),), ("p",))


def test_programs_get_the_parts():
    group = {"id": None, "label": "traffic light", "backbones": ["a", "b"]}
    found = agreement([town("a"), town("b"), field("c"), pets("p")])
    told = {
        "sentence": found.sentence,
        "majority": group,
        "groups": [group, {"id": None, "label": "maze", "backbones": ["c"]}],
        "not_comparable": ["p"],
        "dissenting": ["c"],
        "lacking": ["c"],
    }
    assert found.to_json() == told == json.loads(json.dumps(found.to_json()))
    nothing = {"majority": None, "groups": [], "not_comparable": [], "dissenting": [], "lacking": []}
    assert agreement([]).to_json() == {"sentence": "No backbone answered.", **nothing}
