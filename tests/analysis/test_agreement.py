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


def vote(backbone, known, *pairs, margin=None):
    """Build a vote of (class, probability) pairs; a class is an index, a WordNet id or a name."""
    ids, names = [label.id for label in known.labels], [label.name for label in known.labels]
    predictions = []
    for key, probability in pairs:
        index = key if isinstance(key, int) else (ids if key in ids else names).index(key)
        predictions.append(Prediction(index, ids[index], known.display_names[index], probability))
    if margin is None:
        margin = pairs[0][1] - (pairs[1][1] if len(pairs) > 1 else 0)
    answer = Classification(
        backbone, tuple(predictions), (224, 224), "torch", "cpu", StageTimings(1, 1, 1), known.origin, "mit", margin
    )
    return Vote(answer, known)


def town(backbone, first="traffic light", second="beacon", known=TOWN):
    return vote(backbone, known, (first, 0.8), (second, 0.1))


def field(backbone, first="maze", second="barn"):
    return town(backbone, first, second, FIELD)


def pets(backbone, first="my hamster", second="my snail"):
    return town(backbone, first, second, PETS)


def imagenet(backbone, first, second):
    return town(backbone, first, second, wordnet.imagenet("imagenet-1k"))


def sentence_of(*votes, failed=()):
    return agreement(votes, failed).sentence


def test_no_votes_have_no_majority():
    assert agreement([]) == Agreement("No backbone answered.", None, (), ())
    assert agreement([], ["a"]) == Agreement("No backbone answered.", None, (), ())


def test_a_single_vote_has_no_majority():
    group = Group(None, "maze", ("a",))
    assert agreement([town("a", "maze")]) == Agreement("a says maze.", None, (group,), ())


def test_unanimous_votes():
    group = Group(None, "traffic light", ("a", "b", "c"))
    verdict = agreement([town("a"), town("b"), town("c")])
    assert verdict == Agreement("All 3 say traffic light.", group, (group,), ())
    assert sentence_of(town("a"), town("b")) == "Both say traffic light."


def test_majority_lists_dissenting_backbones():
    answers = [town("c", "maze"), town("a"), town("b")]
    groups = (Group(None, "traffic light", ("a", "b")), Group(None, "maze", ("c",)))
    assert agreement(answers) == Agreement("2 of 3 say traffic light, 1 says maze.", groups[0], groups, (), ("c",))
    three = [town("a"), town("b"), town("c")]
    sentence = "3 of 5 say traffic light, 1 says maze, 1 says candle."
    assert sentence_of(*three, town("d", "maze"), town("e", "candle")) == sentence
    assert sentence_of(*three, town("d", "maze"), town("e", "maze")) == "3 of 5 say traffic light, 2 say maze."


def test_dissenting_votes_are_grouped_by_class():
    sentence = sentence_of(*map(town, "abcd"), town("e", "cup"), town("f", "maze"), town("g", "maze"))
    assert sentence == "4 of 7 say traffic light, 2 say maze, 1 says cup."


def test_sentence_lists_at_most_three_other_classes():
    wide = labels.from_names([f"thing {index}" for index in range(9)], "wide.txt")
    others = [town(f"b{index}", f"thing {index}", "thing 8", wide) for index in range(1, 5)]
    five = [town(f"a{index}", "thing 0", "thing 8", wide) for index in range(5)]
    assert sentence_of(*five, *others[:3]) == "5 of 8 say thing 0, 1 says thing 1, 1 says thing 2, 1 says thing 3."
    assert sentence_of(*five, *others) == "5 of 9 say thing 0, the others are split over 4 answers."
    assert sentence_of(*others[:3]) == "No two agree: thing 1, thing 2 or thing 3."
    assert sentence_of(*others) == "No two agree."
    pairs = [town(f"{side}{index}", f"thing {index}", "thing 8", wide) for index in range(5) for side in "ab"]
    assert sentence_of(*pairs) == "No majority: 10 backbones give 5 different answers."


def test_lacking_lists_dissenters_without_the_majority_class():
    verdict = agreement([town("a"), town("b"), field("c"), pets("p"), pets("q")])
    assert (verdict.dissenting, verdict.missing_class) == (
        ("c",),
        ("c",),
    )  # p and q have other classes and are not compared
    verdict = agreement([town("a"), town("b"), field("c")])
    assert (verdict.sentence, verdict.missing_class) == ("2 of 3 say traffic light, 1 says maze.", ("c",))
    verdict = agreement([town("a"), town("b"), town("c"), field("d"), town("e", "maze")])
    assert (verdict.sentence, verdict.missing_class) == ("3 of 5 say traffic light, 2 say maze.", ("d",))
    assert agreement([town("a"), town("b"), town("c", "maze")]).missing_class == ()


def test_lacking_is_empty_without_a_majority():
    assert agreement([town("a"), field("c")]).missing_class == ()


def test_a_tie_has_no_majority():
    tie = [town("c", "maze"), town("a"), town("b"), town("d", "maze")]
    groups = (Group(None, "maze", ("c", "d")), Group(None, "traffic light", ("a", "b")))
    sentence = "No majority: 2 of 4 say maze, 2 say traffic light."
    assert agreement(tie) == Agreement(sentence, None, groups, ())
    sentence = sentence_of(town("a"), town("b"), town("c", "maze"), town("d", "cup"))
    assert sentence == "No majority: 2 of 4 say traffic light, 1 says maze, 1 says cup."


def test_all_votes_different():
    verdict = agreement([town("a"), town("b", "maze"), town("c", "cup")])
    assert (verdict.sentence, verdict.majority) == ("No two agree: traffic light, maze or cup.", None)
    assert [group.label for group in verdict.groups] == ["traffic light", "maze", "cup"]
    assert sentence_of(town("a"), town("b", "maze")) == "The two disagree: traffic light or maze."


def test_backbones_without_shared_classes_are_not_comparable():
    both = "Both say traffic light."
    verdict = agreement([pets("p"), town("a"), town("b")])
    group = Group(None, "traffic light", ("a", "b"))
    assert verdict == Agreement(f"{both} p knows other classes, so it is not compared.", group, (group,), ("p",))
    soup = vote("q", FOOD, ("soup", 0.6), ("bread", 0.4))
    verdict = agreement([town("a"), pets("p"), town("b"), soup])
    assert verdict.not_comparable == ("p", "q")
    assert verdict.sentence == f"{both} p and q know other classes, so they are not compared."


def test_no_comparable_backbones():
    sentence = "Nothing can be compared: these backbones share no classes."
    assert agreement([town("a"), pets("p")]) == Agreement(sentence, None, (), ("a", "p"))


def test_label_sets_without_names_are_not_comparable():
    known = labels.numbered(5)
    unnamed = [vote(name, known, (3, 0.8), (1, 0.1)) for name in "uv"]
    verdict = agreement([town("a"), town("b"), unnamed[0]])
    sentence = "Both say traffic light. u shares no named class with the others, so it is not compared."
    assert (verdict.not_comparable, verdict.sentence) == (("u",), sentence)
    sentence = " u, v and p share no named class with the others, so they are not compared."
    assert sentence_of(town("a"), town("b"), *unnamed, pets("p")).endswith(sentence)
    assert sentence_of(*unnamed) == "Nothing can be compared: these backbones share no named classes."
    assert sentence_of(unnamed[0]) == "u says class 3."


def test_comparable_sets_have_separate_verdicts():
    verdict = agreement([pets("p"), town("a", "maze"), pets("q"), town("b"), town("c")])
    groups = (
        Group(None, "my hamster", ("p", "q")),
        Group(None, "traffic light", ("b", "c")),
        Group(None, "maze", ("a",)),
    )
    sentence = "2 of 3 say traffic light, 1 says maze. Among those with other classes, both say my hamster."
    assert verdict == Agreement(sentence, groups[1], groups, (), ("a",))
    soup = vote("s", FOOD, ("soup", 0.6), ("bread", 0.4))
    verdict = agreement([pets("p"), pets("q", "my mouse"), town("a"), soup, town("b")])
    assert (verdict.sentence, verdict.majority) == (
        "The two disagree: my hamster or my mouse. Among those with other classes, both say traffic light. "
        "s knows other classes, so it is not compared.",
        None,
    )
    assert verdict.groups[0] == Group(None, "traffic light", ("a", "b"))


def test_label_sets_are_comparable_transitively():
    bridge = labels.from_names(["cup", "my hamster"], "bridge.txt")
    votes = [town("a"), pets("p"), vote("c", bridge, ("cup", 0.8), ("my hamster", 0.1))]
    for order in permutations(votes):
        assert agreement(order).not_comparable == ()
        assert sentence_of(*order).startswith("No two agree: ")


def test_failed_backbones_are_listed():
    both, answers = "Both say traffic light.", [town("a"), town("b")]
    assert sentence_of(*answers, failed=["resnet18"]) == f"{both} resnet18 did not answer."
    assert sentence_of(*answers, failed=["resnet18", "c"]) == f"{both} resnet18 and c did not answer."
    assert sentence_of(*answers, failed=["d", "resnet18", "c"]) == f"{both} d, resnet18 and c did not answer."
    assert sentence_of(*answers, failed=["d", "resnet18", "c", "e"]) == f"{both} 4 did not answer."
    assert sentence_of(answers[0], failed=["c"]) == "a says traffic light. c did not answer."


@pytest.mark.parametrize(("one", "other"), list(combinations(HEADS, 2)))
def test_imagenet_heads_match_by_wordnet_id(one, other):
    assert share(wordnet.imagenet(one), wordnet.imagenet(other))
    verdict = agreement([town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in (one, other)])
    assert verdict.sentence == "Both say traffic light."
    assert verdict.majority == Group(TRAFFIC_LIGHT, "traffic light", (one, other))


def test_lacking_lists_imagenet_heads_without_a_1k_class():
    hounds = [COONHOUND, OTTERHOUND]
    heads = ["imagenet-1k", "imagenet-22k"]
    others = ["imagenet-12k", "imagenet-21k-miil"]
    agree = [town(head, *hounds, wordnet.imagenet(head)) for head in heads]
    dissent = [town(head, TRAFFIC_LIGHT, BEACON, wordnet.imagenet(head)) for head in others]
    for one in dissent:
        verdict = agreement([*agree, one])
        assert verdict.sentence == "2 of 3 say black-and-tan coonhound, 1 says traffic light."
        assert verdict.missing_class == (one.answer.backbone,)
    verdict = agreement([*agree, *dissent])
    assert verdict.sentence == "No majority: 2 of 4 say black-and-tan coonhound, 2 say traffic light."


def test_ids_take_precedence_over_names():
    bird, machine, loanword = Label(CRANE_BIRD, "crane"), Label(CRANE_MACHINE, "crane"), Label(CRANE_BIRD, "Kranich")
    bare = Label(None, "Crane")
    assert same(bird, loanword)
    assert not same(bird, machine)
    assert same(bird, bare)
    assert same(bare, machine)
    assert not same(bare, loanword)


def test_one_id_with_two_names_is_one_class():
    german = LabelSet((Label(CRANE_BIRD, "Kranich"), Label(TRAFFIC_LIGHT, "Ampel")), "deutsch")
    verdict = agreement([town("a", TRAFFIC_LIGHT, CRANE_BIRD, german), imagenet("b", TRAFFIC_LIGHT, BEACON)])
    assert verdict.sentence == "Both say Ampel."
    assert verdict.majority == Group(TRAFFIC_LIGHT, "Ampel", ("a", "b"))


def test_two_ids_with_one_name_are_two_classes():
    cranes = [imagenet("a", CRANE_BIRD, BEACON), imagenet("b", CRANE_MACHINE, BEACON)]
    verdict = agreement(cranes)
    assert verdict.sentence == f"The two disagree: crane ({CRANE_BIRD}) or crane ({CRANE_MACHINE})."
    assert [(group.id, group.label) for group in verdict.groups] == [
        (CRANE_BIRD, f"crane ({CRANE_BIRD})"),
        (CRANE_MACHINE, f"crane ({CRANE_MACHINE})"),
    ]
    assert sentence_of(imagenet("a", CRANE_BIRD, CRANE_MACHINE)) == "a says crane."


def test_name_without_id_matches_the_class_with_id():
    bare = labels.from_names(["Traffic Light", "beacon"], "mine.txt")
    verdict = agreement([town("a", "Traffic Light", "beacon", bare), imagenet("b", TRAFFIC_LIGHT, BEACON)])
    assert verdict.sentence == "Both say Traffic Light."
    assert verdict.majority == Group(TRAFFIC_LIGHT, "Traffic Light", ("a", "b"))


def test_ambiguous_name_without_id_joins_no_group():
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


def test_name_without_id_must_match_all_members_of_a_group():
    german = LabelSet((Label(CRANE_BIRD, "Kranich"), Label(BEACON, "beacon")), "deutsch")
    bare = labels.from_names(["crane", "beacon"], "mine.txt")
    votes = [
        town("c", "crane", "beacon", bare),
        imagenet("a", CRANE_BIRD, BEACON),
        town("b", CRANE_BIRD, BEACON, german),
    ]
    assert [group.backbones for group in agreement(votes).groups] == [("a", "b"), ("c",)]


PARTLY = labels.from_hub(["n02123045", "n02099601", "my hamster"], None, wordnet.wordnet(), "owner/repo")


def test_label_set_with_ids_for_some_classes():
    assert [label.id for label in PARTLY.labels] == ["n02123045", "n02099601", None]
    tabby, other = town("a", "n02123045", "n02099601", PARTLY), imagenet("b", "n02123045", "n02099601")
    assert sentence_of(tabby, other) == "Both say tabby."
    hamster = town("a", "my hamster", "n02099601", PARTLY)
    assert sentence_of(hamster, pets("p")) == "Both say my hamster."
    sentence = sentence_of(hamster, other, imagenet("c", "n02123045", "n02099601"))
    assert sentence == "2 of 3 say tabby, 1 says my hamster."
    assert sentence_of(pets("p"), other).startswith("Nothing can be compared: ")


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
def test_share_detects_common_classes(a, b, shared):
    assert share(a, b) is share(b, a) is shared
    if len(b) < 1000:
        assert shared is (a.named and b.named and any(same(one, other) for one in a.labels for other in b.labels))


def test_unnamed_label_set_shares_no_class_with_itself():
    known = labels.numbered(3)
    assert share(known, known) is False


def test_verdict_is_independent_of_request_order():
    votes = [town("a"), town("b"), field("c"), pets("p"), imagenet("d", TRAFFIC_LIGHT, BEACON)]
    for order in permutations(votes):
        verdict = agreement(order)
        names = [vote.answer.backbone for vote in order]
        agreeing = tuple(name for name in names if name in "abd")
        assert verdict.majority == Group(TRAFFIC_LIGHT, "traffic light", agreeing)
        assert (verdict.groups[1:], verdict.not_comparable) == ((Group(None, "maze", ("c",)),), ("p",))


def test_agreement_to_json():
    group = {"id": None, "label": "traffic light", "backbones": ["a", "b"]}
    verdict = agreement([town("a"), town("b"), field("c"), pets("p")])
    expected = {
        "sentence": verdict.sentence,
        "majority": group,
        "groups": [group, {"id": None, "label": "maze", "backbones": ["c"]}],
        "not_comparable": ["p"],
        "dissenting": ["c"],
        "missing_class": ["c"],
        "multi_label": [],
    }
    assert verdict.to_json() == expected == json.loads(json.dumps(verdict.to_json()))
    nothing = {
        "majority": None,
        "groups": [],
        "not_comparable": [],
        "dissenting": [],
        "missing_class": [],
        "multi_label": [],
    }
    assert agreement([]).to_json() == {"sentence": "No backbone answered.", **nothing}
