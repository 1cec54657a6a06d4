"""Invalid configs: handwritten ones with their expected messages, and a fuzzer that mutates valid ones.

for text in fuzzed(10_000, seed=1):
    refused(text)  # the problems; empty if the mutated config is still valid
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lineup import config
from lineup.config import yaml_source
from lineup.errors import ConfigError

GOOD = [
    "backbones: [resnet18]\n",
    "backbones:\n  - resnet18\n  - torchvision/squeezenet1_1\n  - local-dir:bundled/efficientnet_lite0\n",
    """\
# the line-up of a fork
title: "Birds: ä, 鳥 and 🐦"
description: >
  Which bird
  is it?
default: own
top_k: 5
backbones:
  - resnet18.a1_in1k
  - name: own
    backbone: torchvision/resnet50
    checkpoint: 'weights/own.pth'
    labels: [jay, crow]
    input_size: [224, 320]
    mean: [0.5, 0.5, 0.5]
    std: [0.25, 0.25, 1]
    crop_pct: 0.9
    interpolation: bicubic
  - {backbone: "hf-hub:me/pets@v1", labels: pets.txt, input_size: 96}
examples:
  - maze.jpg
  - {image: 'hf://datasets/me/birds/jay.png', caption: A jay}
limits: {memory_mb: 2048, max_compared: 4, hub_timeout_s: 7.5}
""",
    """\
backbones: [{backbone: resnet34, pretrained: false}, vit_tiny_patch16_224]
examples: images
device: cpu
engine: torch
precision: float32
share: false
limits:
  queue_size: 9
feedback: {to: kept, per_day: 9}
space:
  emoji: 🐦
  color_from: red
  short_description: birds
  hardware: cpu-basic
""",
]

NOT_YAML = [  # config, message; … matches any text
    (
        "backbones: [resnet18\n",
        "1:12: expected a closing ] for the [ that is opened here; got the end of … ], or a missing comma",
    ),
    (
        "backbones: [resnet18}\n",
        "1:21: expected a comma or ]; got }; separate the items by commas, and put … characters in quotes",
    ),
    ("backbones:\n\t- resnet18\n", "2:1: expected spaces as indentation; got a tab; replace it by spaces"),
    (
        "title: a: b\nbackbones: [a]\n",
        "1:9: expected one key in a line; got a second colon followed by a space; put the value in quotes",
    ),
    (
        "title: 'a\nbackbones: [a]\n",
        "1:8: expected a closing ' for the quote that is opened here; got the end … or remove this '",
    ),
    ("title: @me\nbackbones: [a]\n", "1:8: expected a value; got @, which YAML reserves; put the value in quotes"),
    ("title: `me`\nbackbones: [a]\n", "1:8: expected a value; got `, which YAML reserves; put the value in quotes"),
    ("title: %me\nbackbones: [a]\n", "1:8: expected a value; got %, which YAML reserves; put the value in quotes"),
    (
        "title: {a\nbackbones: [a]\n",
        "1:8: expected a closing } for the { that is opened here; got none up to … }, or a missing comma",
    ),
    (
        "backbones: [a]\n---\nbackbones: [b]\n",
        "2:1: expected one document; got a second one after ---; remove this line, or what is not needed",
    ),
    (
        "backbones: [a]\nresnet18\n",
        "2:1: expected `key: value` or `- item`; got 'resnet18'; add the colon, or … that it continues",
    ),
    (
        "backbones: [a]\n  title: x\n",
        "2:3: expected a line that begins in the same column as one above, such as … that it belongs to",
    ),
    ("%YAML 9.9\n---\nbackbones: [a]\n", "1:1: expected keys and values; got a directive; remove this line"),
    (
        "title: !e!x a\nbackbones: [a]\n",
        "1:8: expected a value; got the undefined tag handle '!e!', as ! begins a … the value in quotes",
    ),
    (
        "title: |9x\n  a\nbackbones: [a]\n",
        "1:8: expected a value; got | or >, which begins a block of text in the … the value in quotes",
    ),
    (
        "backbones:\n  - name: x\n\tbackbone: y\n",
        "3:1: expected spaces as indentation; got a tab; replace it by spaces",
    ),
    ("title:\tx\nbackbones: [a]\n", "1:7: expected spaces; got a tab; replace it by spaces"),
    ("title: x\t\nbackbones: [a]\n", "1:9: expected spaces; got a tab; replace it by spaces"),
    ("\ttitle: x\nbackbones: [a]\n", "1:1: expected spaces as indentation; got a tab; replace it by spaces"),
    ("backbones:\n  -\tresnet18\n", "2:4: expected spaces; got a tab; replace it by spaces"),
    (
        'title: "a\ndescription: "b"\nbackbones: [a]\n',
        '1:8: expected a closing " for the quote that is opened here; got the next … or remove this "',
    ),
    (
        "title: 'it's fine'\nbackbones: [a]\n",
        "1:12: expected nothing after the closing '; got text after it; write one … an apostrophe in it",
    ),
    ("top_k:3\nbackbones: [a]\n", "1:6: expected a space after the colon; got top_k:3; write a space after top_k:"),
    ("backbones: [a]\ntop_k:3\n", "2:6: expected a space after the colon; got top_k:3; write a space after top_k:"),
    (
        "backbones:\n  - a # x\n  -resnet18\n  - b\n",
        "3:3: expected a space after the dash; got -resnet18; write a space after it",
    ),
    (
        "backbones:\n  - a\n  -resnet18\n  - b\n",
        "3:3: expected a space after the dash; got -resnet18; write a space after it",
    ),
    (
        "title: x\n  top_k: 3\nbackbones: [a]\n",
        "2:3: expected the indentation of the key above; got column 3, where it … indent it as that key",
    ),
    (
        "title: - x\nbackbones: [a]\n",
        "1:8: expected a dash at the beginning of a line; got one after other text; … the text in quotes",
    ),
    (
        "title: *.jpg\nbackbones: [a]\n",
        "1:8: expected a value; got *, which refers to an anchor; put the value in quotes",
    ),
    ("title: & b\nbackbones: [a]\n", "1:8: expected a value; got &, which defines an anchor; put the value in quotes"),
    (
        "title: > x\nbackbones: [a]\n",
        "1:8: expected a value; got | or >, which begins a block of text in the … the value in quotes",
    ),
    (
        "title: “a: b”\nbackbones: [a]\n",
        '1:8: expected straight quotes; got “, which is text to YAML; write " instead of it',
    ),
    ("title:\xa0x\nbackbones: [a]\n", "1:7: expected spaces; got no-break space (U+00A0); replace it by spaces"),
    (
        "backbones:\n\xa0\xa0- resnet18\n",
        "2:1: expected spaces as indentation; got no-break space (U+00A0); replace it by spaces",
    ),
    (
        "backbones:\n  - a # x\n\xa0 - resnet18\n",
        "3:1: expected spaces as indentation; got no-break space (U+00A0); replace it by spaces",
    ),
    (
        "backbones:\n  -\xa0resnet18\n  - b # x\n  - c\n",
        "2:4: expected spaces; got no-break space (U+00A0); replace it by spaces",
    ),
    ("title： x\nbackbones: [a]\n", "1:6: expected a colon; got fullwidth colon (U+FF1A); write : and a space"),
    (
        "backbones:\n  - name: a\n    backbone: b\n   checkpoint: c\n",
        "4:4: expected a line that begins in the same column as one above, such as … that it belongs to",
    ),
    (" title: x\nbackbones: [a]\n", "1:2: expected the column of line 2, which is 1; got column 2; indent both alike"),
    (
        "backbones: [a]]\n",
        "1:15: expected nothing after the closing ]; got ] after it; put a comma between, or remove it",
    ),
    ("backbones: [,a]\n", "1:13: expected a value; got ,; write the value, or remove this character"),
    ("title: ]\n", "1:8: expected a value; got ]; write the value, or remove this character"),
    (
        "backbones: [a] b\n",
        "1:16: expected nothing after the closing ]; got text after it; put a comma between, or remove it",
    ),
    (
        "backbones: [a\ntitle: x\n",
        "1:12: expected a closing ] for the [ that is opened here; got none up to … ], or a missing comma",
    ),
    (
        "backbones: [{name: a, backbone: b]\n",
        "1:34: expected a comma or }; got ]; separate the items by commas, and put … characters in quotes",
    ),
    (
        "backbones:\n  - {name: a, backbone: b\n  - c\n",
        "2:5: expected a closing } for the { that is opened here; got the end of … }, or a missing comma",
    ),
    (
        "backbones:\n  - {name: a backbone: b}\n",
        "2:22: expected a comma or }; got :; separate the items by commas, and put … characters in quotes",
    ),
    (
        'backbones:\n  - {name: a, backbone: "b}\n  - {name: c, backbone: "d"}\n',
        '2:25: expected a closing " for the quote that is opened here; got the next … or remove this "',
    ),
    (
        "backbones: ['a\n",
        "1:13: expected a closing ' for the quote that is opened here; got the end … or remove this '",
    ),
    (
        "backbones:\n  resnet18\n  vit # x\n  c: 2\n",
        "4:3: expected a line that begins in the same column as one above, such as … that it belongs to",
    ),
    (
        "title: a #b: c: d\nx: y: z\n",
        "2:5: expected one key in a line; got a second colon followed by a space; put the value in quotes",
    ),
    (
        "default: b\nbackbones\n  - b\n",
        "2:1: expected `key: value` or `- item`; got 'backbones'; add the colon, or … that it continues",
    ),
    (
        'title: "a" b\nbackbones: [a]\n',
        '1:12: expected nothing after the closing "; got text after it; write one … around the value',
    ),
    (
        "description: >\n  a\n b\nbackbones: [a]\n",
        "3:2: expected a line that begins in the same column as one above, such as … that it belongs to",
    ),
]
_DATASET = "or hf://datasets/OWNER/NAME"
_OWNER = "write the owner and the name of the data set"
WRONG = [  # config, all messages; … matches any text
    (
        "backbones:\n  - {name: a, backbone: 'lineup:other.host/b'}",
        "2:5: backbones[0]: expected lineup:https://host/name, the address of another Lineup and the name of a "
        "backbone there; got 'other.host/b'; write lineup:https://other.host/b",
    ),
    (
        "backbones:\n  - {name: a, backbone: 'lineup:https://other.host/b', pretrained: false}",
        "2:5: backbones[0]: expected no `pretrained: false` beside 'lineup:https://other.host/b'; remove it",
    ),
    (
        "backbones:\n - resnet18\n  - vit\n",
        "2:4: backbones[0]: expected the name of a backbone, such as resnet18; got 'resnet18 - vit'",
    ),
    ("title: !%0A [x]\nbackbones: [a]\n", "1:8: expected YAML; got the tag !?; remove it"),
    ("title: *name\nbackbones: [a]\n", "1:8: expected YAML; got the alias *name; write the value out"),
    ("title: &a b\ndefault: *a\nbackbones: [a]\n", "2:10: expected YAML; got the alias *a; write the value out"),
    ("title: &a b\ndefault: &a b\nbackbones: [b]\n", "2:10: expected YAML; got the anchor &a again; remove it"),
    ("<<: *base\nbackbones: [a]\n", "1:5: expected YAML; got the alias *base; write the value out"),
    ("a: &a [x,x]\nb: &b [*a,*a]\nbackbones: [a]\n", "2:8: expected YAML; got the alias *a; write the value out"),
    (
        "title: !!python/object/apply:os.system [ls]\nbackbones: [a]\n",
        "1:8: expected YAML; got the tag tag:yaml.org,2002:python/object/apply:os.system; remove it",
    ),
    (
        "backbones: !!python/object/apply:os.system [ls]\n",
        "1:12: expected YAML; got the tag tag:yaml.org,2002:python/object/apply:os.system; remove it",
    ),
    (
        "limits: !!python/object:os.system {memory_mb: 64}\nbackbones: [a]\n",
        "1:9: expected YAML; got the tag tag:yaml.org,2002:python/object:os.system; remove it",
    ),
    (
        "title: !!python/name:os.system ''\nbackbones: [a]\n",
        "1:8: expected YAML; got '', which cannot be read as … or as text in quotes",
    ),
    (
        "title: !%0A x\nbackbones: [a]\n",
        "1:8: expected YAML; got 'x', which cannot be read as !?; … or as text in quotes",
    ),
    (
        "? [a, b]\n: c\nbackbones: [a]\n",
        "1:3: expected YAML; got a key that is not plain text; write a word as the key",
    ),
    ('"a\\nb": c\nbackbones: [a]\n', "1:1: expected YAML; got a key that is not plain text; write a word as the key"),
    ("title: a\0b\nbackbones: [a]\n", "1:9: expected printable text; got the control character U+0000; remove it"),
    (
        "backbones:\n  - {name:x, backbone: y}\n",
        "2:6: backbones[0].name:x: expected a known key; got … write a space after the colon: name: x",
    ),
    (
        'title: "\\ud800"\nbackbones: [a]\n',
        "1:8: expected YAML; got '?', which cannot be read as … or as text in quotes",
    ),
    ("top_k: 010\nbackbones: [a]\n", "1:8: expected YAML; got '010', which cannot be read as … or as text in quotes"),
    ("top_k: 1:30\nbackbones: [a]\n", "1:8: expected YAML; got '1:30', which cannot be read as … or as text in quotes"),
    ("backbones: [a]\ntop_k: " + "9" * 200 + "\n", "2:8: expected YAML; got … or as text in quotes"),
    (
        "backbones: " + "[" * 2000 + "\n",
        "1:1: expected YAML; got maximum recursion depth exceeded; check the file's text",
    ),
    ("", "1:1: backbones: expected a value; there is none; add `backbones:`"),
    ("# only a comment\n", "1:1: backbones: expected a value; there is none; add `backbones:`"),
    ("~\n", "1:1: backbones: expected a value; there is none; add `backbones:`"),
    ("- resnet18\n", "1:1: expected keys and values; got ['resnet18']"),
    ("resnet18\n", "1:1: expected keys and values; got 'resnet18'"),
    ("42\n", "1:1: expected keys and values; got 42"),
    ("title: x\n", "1:1: backbones: expected a value; there is none; add `backbones:`"),
    ("backbones:\n", "1:1: backbones: expected a list of backbones, one per line, each after a dash"),
    ("backbones: resnet18\n", "1:1: backbones: expected a list of backbones, one per line, each after a dash"),
    ("backbones: {resnet18: null}\n", "1:1: backbones: expected a list of backbones, one per line, each after a dash"),
    ("backbones: []\n", "1:1: backbones: expected 1 or more; got []"),
    (
        "backbone: [a]\n",
        "1:1: backbones: expected a value; there is none; add `backbones:`",
        "1:1: backbone: expected a known key; got 'backbone'; did you mean 'backbones'?",
    ),
    (
        "Backbones: [a]\n",
        "1:1: backbones: expected a value; there is none; add `backbones:`",
        "1:1: Backbones: expected a known key; got 'Backbones'; did you mean 'backbones'?",
    ),
    (
        "backbones: [a]\nmodels: [b]\n",
        "2:1: models: expected a known key; got 'models'; remove it, … feedback, rest, cluster, space",
    ),
    (
        "backbones: [a]\nbackbones: [b]\n",
        "2:1: backbones: expected each key once; already defined in line 1; remove one of the two",
    ),
    (
        "backbones: [a]\n<<: {title: x}\n",
        "2:1: <<: expected a known key; got '<<'; remove it, or use … feedback, rest, cluster, space",
    ),
    (
        "backbones: [a]\nlimits: {memory: 5}\n",
        "2:10: limits.memory: expected a known key; got 'memory'; did you mean 'memory_mb'?",
    ),
    (
        "backbones: [a]\ntrusted_proxies: [10.0.0.0/8, localhost]\n",
        "2:31: trusted_proxies[1]: expected an address or a network such as 10.0.0.0/8; "
        "got 'localhost'; write its address, not its name",
    ),
    (
        "backbones: [a]\nrest: {trusted_proxies: [10.0.0.1]}\n",
        "2:8: rest.trusted_proxies: expected a known key; got 'trusted_proxies'; "
        "move it out of `rest`, to the top level",
    ),
    (
        "backbones: [a]\nrest: {cors: ['https://a.org/'], rate_limit: 60}\n",
        "2:15: rest.cors[0]: expected an origin such as https://example.org, or *; got 'https://a.org/'; "
        "write no path after it",
        "2:34: rest.rate_limit: expected text; got 60; put it in quotes",
    ),
    (
        "backbones: [a]\nrest: {rate_limit: 1/second;9/day}\n",
        "2:8: rest.rate_limit: expected one limit such as 60/minute; got '1/second;9/day'; "
        "write requests, / and a unit of time",
    ),
    (
        "backbones: [a]\nrest: {rate_limit: 0/minute}\n",
        "2:8: rest.rate_limit: expected one limit such as 60/minute; got '0/minute'; "
        "write requests, / and a unit of time",
    ),
    (
        "backbones: [a]\ncluster: {adress: auto, replicas: 3, gpus: -1, cpus: 0}\n",
        "2:11: cluster.adress: expected a known key; got 'adress'; did you mean 'address'?",
        "2:25: cluster.replicas: expected keys and values; got 3; fix it, or leave `replicas` out",
        "2:38: cluster.gpus: expected 0.0 or more; got -1; fix it, or leave `gpus` out",
        "2:48: cluster.cpus: expected more than 0.0; got 0; fix it, or leave `cpus` out",
    ),
    (
        "backbones: [a]\ncluster: {address: 'ray://head', replicas: {min: 3, max: 2}}\n",
        "2:11: cluster.address: expected auto, ray://host:port or host:port; got 'ray://head'; "
        "write the port too: 10001 is that of Ray's clients, 6379 that of its nodes",
        "2:34: cluster.replicas: expected `min` of at most `max`; got 3 and 2; swap them",
    ),
    (
        "backbones: [a]\ncluster: {replicas: {mni: 1}, backbones_per_replica: 1.5}\n",
        "2:22: cluster.replicas.mni: expected a known key; got 'mni'; remove it, or use one of: min, max",
        "2:31: cluster.backbones_per_replica: expected a whole number; got 1.5; "
        "fix it, or leave `backbones_per_replica` out",
    ),
    (
        "backbones: [a]\nspace: {colour: red}\n",
        "2:9: space.colour: expected a known key; got 'colour'; remove … license, hardware",
    ),
    (
        "backbones: [a]\nspace: {sdk: gradio}\n",
        "2:9: space.sdk: expected a known key; got 'sdk'; remove it, … license, hardware",
    ),
    (
        "backbones: [{backbone: a, model: b}]\n",
        "1:27: backbones[0].model: expected a known key; got 'model'; … in_chans, model_args",
    ),
    ("backbones:\n  - name: a\n", "2:5: backbones[0].backbone: expected a value; there is none; add `backbone:`"),
    (
        "backbones:\n  - resnet18: {labels: x}\n",
        "2:5: backbones[0].backbone: expected a value; there is none; add `backbone:`",
        "2:5: backbones[0].resnet18: expected a known key; got … in_chans, model_args",
    ),
    (
        "examples: [{path: a.jpg}]\nbackbones: [a]\n",
        "1:12: examples[0].image: expected a value; there is none; add `image:`",
        "1:13: examples[0].path: expected a known key; got 'path'; … one of: image, caption",
    ),
    ("title: 5\nbackbones: [a]\n", "1:1: title: expected text; got 5; put it in quotes"),
    ("title: [a]\nbackbones: [a]\n", "1:1: title: expected text; got ['a']; fix it, or leave `title` out"),
    ("title:\nbackbones: [a]\n", "1:1: title: expected text; got nothing; add one, or leave `title` out"),
    ("description: yes\nbackbones: [a]\n", "1:1: description: expected text; got true; put it in quotes"),
    (
        "top_k: three\nbackbones: [a]\n",
        "1:1: top_k: expected a whole number; got 'three'; fix it, or leave `top_k` out",
    ),
    ("top_k: 0\nbackbones: [a]\n", "1:1: top_k: expected 1 or more; got 0; fix it, or leave `top_k` out"),
    ("top_k: 1e3\nbackbones: [a]\n", "1:1: top_k: expected a whole number; got '1e3'; fix it, or leave `top_k` out"),
    ("top_k: 3.5\nbackbones: [a]\n", "1:1: top_k: expected a whole number; got 3.5; fix it, or leave `top_k` out"),
    ("top_k: 5000\nbackbones: [a]\n", "1:1: top_k: expected 1000 or less; got 5000; fix it, or leave `top_k` out"),
    (
        "device: gpu\nbackbones: [a]\n",
        "1:1: device: expected one of 'auto', 'cpu', 'cuda' or 'mps'; … it, or leave `device` out",
    ),
    (
        "precision: fp16\nbackbones: [a]\n",
        "1:1: precision: expected one of 'auto', 'float32' or … or leave `precision` out",
    ),
    ("share: 'yes'\nbackbones: [a]\n", "1:1: share: expected true or false; got 'yes'; fix it, or leave `share` out"),
    ("limits: 5\nbackbones: [a]\n", "1:1: limits: expected keys and values; got 5; fix it, or leave `limits` out"),
    (
        "limits: {memory_mb: 2GB}\nbackbones: [a]\n",
        "1:10: limits.memory_mb: expected a whole number; got '2GB'; fix it, or leave `memory_mb` out",
    ),
    (
        "limits: {hub_timeout_s: 0}\nbackbones: [a]\n",
        "1:10: limits.hub_timeout_s: expected more than 0.0; got 0; … leave `hub_timeout_s` out",
    ),
    (
        "limits: {hub_timeout_s: 1e3}\nbackbones: [a]\n",
        "1:10: limits.hub_timeout_s: expected a number; got '1e3'; write it with a decimal point: 1.0e3",
    ),
    (
        "limits: {hub_timeout_s: .inf}\nbackbones: [a]\n",
        "1:10: limits.hub_timeout_s: expected a finite number; got … leave `hub_timeout_s` out",
    ),
    (
        "limits: {max_compared: 1}\nbackbones: [a]\n",
        "1:10: limits.max_compared: expected 2 or more; got 1; fix it, or leave `max_compared` out",
    ),
    (
        "space: {color_from: teal}\nbackbones: [a]\n",
        "1:9: space.color_from: expected one of 'red', 'yellow', … or leave `color_from` out",
    ),
    (
        "space: {hardware: h100}\nbackbones: [a]\n",
        "1:9: space.hardware: expected one of 'zero-a10g', … it, or leave `hardware` out",
    ),
    (
        "space: {short_description: " + "x" * 61 + "}\nbackbones: [a]\n",
        "1:9: space.short_description: expected at most 60 characters; … `short_description` out",
    ),
    (
        "examples: 5\nbackbones: [a]\n",
        "1:1: examples: expected a folder, or a list of images; got 5; put it in quotes",
    ),
    (
        "examples: [5]\nbackbones: [a]\n",
        "1:12: examples[0]: expected keys and values; got 5; fix it, or leave `examples` out",
    ),
    ("default: b\nbackbones: [a]\n", "1:1: default: expected the name of an entry; got 'b'; use one of: a"),
    (
        "default: resnet8\nbackbones: [resnet18]\n",
        "1:1: default: expected the name of an entry; got 'resnet8'; did you mean 'resnet18'?",
    ),
    (
        "backbones: [a, a]\n",
        "1:16: backbones[1]: expected each name once; got 'a' again; give one of the two another `name`",
    ),
    (
        "backbones: [a, {backbone: b, name: a}]\n",
        "1:16: backbones[1]: expected each name once; got 'a' again; give one of the two another `name`",
    ),
    ("backbones: [5]\n", "1:13: backbones[0]: expected a name such as resnet18, or keys … resnet18`; got 5; fix it"),
    ("backbones: [true]\n", "1:13: backbones[0]: expected a name such as resnet18, or keys … got true; fix it"),
    ("backbones: [~]\n", "1:13: backbones[0]: expected a name such as resnet18, or keys … got nothing; fix it"),
    ("backbones: [[a]]\n", "1:13: backbones[0]: expected a name such as resnet18, or keys … got ['a']; fix it"),
    ("backbones: ['']\n", "1:13: backbones[0]: expected the name of a backbone, such as resnet18; got ''"),
    ("backbones: ['a b']\n", "1:13: backbones[0]: expected the name of a backbone, such as resnet18; got 'a b'"),
    (
        "backbones: ['untrained:resnet18']\n",
        "1:13: backbones[0]: expected the name of a backbone; … write resnet18, and `pretrained: false`",
    ),
    (
        'backbones: ["a/b\\nc"]\n',
        '1:13: expected YAML; got the path "a/b\\nc", in which \\n stands for one character; '
        "write / instead of \\, or use single quotes",
    ),
    (
        'title: "\\q"\nbackbones: [a]\n',
        "1:9: expected YAML; got \\q in double quotes, where … or use single quotes",
    ),
    (
        "backbones:\n- hf-hub: me/pets\n",
        "2:3: backbones[0]: expected hf-hub:me/pets, without a space; got hf-hub: me/pets",
    ),
    ("backbones: [google/vit]\n", "1:13: backbones[0]: expected a name with its source; … for a folder"),
    (
        "backbones: ['hf-hub:vit']\n",
        "1:13: backbones[0]: expected hf-hub:owner/repo or … got 'hf-hub:vit'; "
        "write vit for timm's own weights of this name",
    ),
    ("backbones: ['hf-hub:me/pets@']\n", "1:13: backbones[0]: expected hf-hub:owner/repo or … got 'hf-hub:me/pets@'"),
    ("backbones: ['local-dir:']\n", "1:13: backbones[0]: expected source:name, such as … got 'local-dir:'"),
    (
        "backbones: [torchvision/resnet50@]\n",
        "1:13: backbones[0]: expected torchvision/name or … got 'torchvision/resnet50@'",
    ),
    ("backbones: [{backbone: ~}]\n", "1:14: backbones[0].backbone: expected text; got nothing; add one"),
    ("backbones: [{backbone: [a]}]\n", "1:14: backbones[0].backbone: expected text; got ['a']; fix it"),
    (
        "backbones: [{backbone: a, name: ''}]\n",
        "1:13: backbones[0]: expected a name of 1 to 200 printable … spaces; got ''; fix it",
    ),
    (
        "backbones: [{backbone: a, labels: []}]\n",
        "1:13: backbones[0]: expected labels that are not empty; got … or none; name each class",
    ),
    (
        "backbones: [{backbone: a, labels: 5}]\n",
        "1:27: backbones[0].labels: expected a file, a list of … got 5; put it in quotes",
    ),
    (
        "backbones: [{backbone: a, labels: {0: cat, 2: dog}}]\n",
        "1:27: backbones[0].labels: expected the class indices 0 to 1, as there are 2 names; there is none for 1, "
        "and the last one is 2; … list the names alone, in the order of the outputs",
    ),
    (
        "backbones: [{backbone: a, labels: {1: cat, 2: dog}}]\n",
        "1:27: backbones[0].labels: expected the class indices 0 to 1, as there are 2 names; they are numbered from "
        "1 to 2, which leaves open which output … list the names alone, in the order of the outputs",
    ),
    (
        "backbones: [{backbone: a, labels: {0: cat, x: dog}}]\n",
        "1:27: backbones[0].labels: expected an index on the same … names alone, in the order of the outputs",
    ),
    (
        "backbones: [{backbone: a, labels: {cat: 0, dog: 0}}]\n",
        "1:27: backbones[0].labels: expected each class index once; … names alone, in the order of the outputs",
    ),
    (
        "backbones: [{backbone: a, labels: {0: cat, 1: no}}]\n",
        "1:27: backbones[0].labels: expected a name or an index for '1'; got false; put a name in quotes",
    ),
    (
        "backbones: [{backbone: a, labels: {0: 1, 1: 2, 2: 0}}]\n",
        "1:27: backbones[0].labels: expected an index and a name for … names alone, in the order of the outputs",
    ),
    (
        "backbones: [{backbone: a, labels: [cat, ~]}]\n",
        "1:41: backbones[0].labels[1]: expected text; got nothing; add one, or leave `labels` out",
    ),
    (
        "backbones: [{backbone: a, input_size: 8}]\n",
        "1:27: backbones[0].input_size: expected 16 or more; got 8; fix it, or leave `input_size` out",
    ),
    (
        "backbones: [{backbone: a, input_size: [224]}]\n",
        "1:27: backbones[0].input_size: expected 2 numbers; got [224]; … or leave `input_size` out",
    ),
    (
        "backbones: [{backbone: a, input_size: [3, 224, 224]}]\n",
        "1:27: backbones[0].input_size: expected 2 at most; got [3, … or leave `input_size` out",
    ),
    (
        "backbones: [{backbone: a, input_size: big}]\n",
        "1:27: backbones[0].input_size: expected a whole number, or a … or leave `input_size` out",
    ),
    (
        "backbones: [{backbone: a, mean: [a, b, c]}]\n",
        "1:34: backbones[0].mean[0]: expected a number; got 'a'; fix it, or leave `mean` out",
        "1:37: backbones[0].mean[1]: expected a number; got 'b'; fix it, or leave `mean` out",
        "1:40: backbones[0].mean[2]: expected a number; got 'c'; fix it, or leave `mean` out",
    ),
    (
        "backbones: [{backbone: a, std: [0, 0, 0]}]\n",
        "1:13: backbones[0]: expected mean and std of pixels from 0 to 1; got std: [0, 0, 0], … a std from 0.001",
    ),
    (
        "backbones: [{backbone: a, crop_pct: 87.5}]\n",
        "1:27: backbones[0].crop_pct: expected 1.0 or less; got 87.5; fix it, or leave `crop_pct` out",
    ),
    (
        "backbones: [{backbone: a, interpolation: area}]\n",
        "1:27: backbones[0].interpolation: expected one of 'nearest', … leave `interpolation` out",
    ),
    (
        "backbones: [{backbone: a, checkpoint: x, pretrained: false}]\n",
        "1:13: backbones[0]: expected either `checkpoint` or `pretrained: false`; got both; remove one",
    ),
    (
        "backbones: [{backbone: 'hf-hub:me/pets', checkpoint: x}]\n",
        "1:13: backbones[0]: expected a checkpoint only with an … resnet18, or remove `checkpoint`",
    ),
    (
        "backbones: [{backbone: torchvision/a@B, checkpoint: x}]\n",
        "1:13: backbones[0]: expected no @B beside `checkpoint`; remove one of the two",
    ),
    *(
        (f"backbones: [a]\nfeedback:\n  to: {to}\n", f"3:3: feedback.to: expected a folder, {message}")
        for to, message in (
            ("''", f"{_DATASET}; got ''; write one, or leave `to` out"),
            ("' '", f"{_DATASET}; got ' '; write one, or leave `to` out"),
            ("' a'", f"{_DATASET}; got ' a', with … not printable; fix it"),
            ("~no-user/x", f"{_DATASET}; got '~no-user/x', which cannot be resolved; write the whole path"),
            ("a" * 256, f"{_DATASET}; got … which is too long; write a shorter one"),
            ("a/" * 1001, f"{_DATASET}; got … which is too long; write a shorter one"),
            ("a\\b", f"{_DATASET}; got 'a\\\\b'; write / instead of \\"),
            ("hf://datasets/x", f"{_DATASET}; got 'hf://datasets/x'; {_OWNER}"),
            ("hf://datasets/me/../x", f"{_DATASET}; got 'hf://datasets/me/../x'; {_OWNER}"),
            ("hf://datasets/me/a/b", f"{_DATASET}; got 'hf://datasets/me/a/b'; {_OWNER}"),
            ("hf://datasets/me/x@v1", f"{_DATASET}, without a revision; got 'hf://datasets/me/x@v1'; remove '@v1'"),
            ("https://huggingface.co/datasets/me/x", f"{_DATASET}; got … write hf://datasets/me/x"),
            ("s3://me/x", f"{_DATASET}; got 's3://me/x'; write one of the two"),
            ("hf:me/x", f"{_DATASET}; got 'hf:me/x'; write one of the two"),
        )
    ),
    ("backbones: [a]\nfeedback:\n  to: /\n", "3:3: feedback.to: expected a folder that is neither … such as feedback"),
    (
        "backbones: [a]\nfeedback: kept\n",
        "2:1: feedback: expected keys and values; got 'kept'; fix it, or leave `feedback` out",
    ),
    (
        "backbones: [a]\nfeedback: {keep_days: 0}\n",
        "2:12: feedback.keep_days: expected 1 or more; got 0; fix it, or leave `keep_days` out",
    ),
    (
        "backbones: [a]\nfeedback: {folder: x}\n",
        "2:12: feedback.folder: expected a known key; got 'folder'; remove … per_day, keep_days",
    ),
    ('backbones: [a]\nfeedback:\n  to: "a\\0b"\n', "3:7: expected YAML; got the path … or use single quotes"),
]


def refused(text: str) -> tuple[str, ...]:
    """Return the problems of a config; empty if it is valid."""
    try:
        config.build(yaml_source.parse(text, "config.yaml"), Path())
    except ConfigError as error:
        return error.problems
    return ()


def fuzzed(count: int, seed: int) -> Iterator[str]:
    """Yield valid configs with one to four mutations each."""
    rng = random.Random(seed)
    for _ in range(count):
        text = rng.choice(GOOD)
        for _ in range(rng.choice((1, 1, 2, 4))):
            text = rng.choice(MUTATIONS)(text, rng)
        yield text


def _bytes(text: str, rng: random.Random) -> str:
    """Replace, delete or duplicate some bytes."""
    body = bytearray(text, "utf-8", "replace")
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(body) + 1)
        body[at : at + rng.choice((0, 1, 5))] = rng.choice((b"", rng.randbytes(3), body[at : at + 20]))
    return body.decode("utf-8", "replace")


TOKENS = [
    *":-?[]{},#&*!|>'\"%@`~=<",
    *("\t", "\n", "\r\n", "\0", "\x07", "\x85", "\u2028", "\ufeff", "\u202e", "\U0001f426", "\ud800", "\uffff"),
    *("- ", ": ", "? ", "<<: ", "---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! tag:x,1:\n---\n", "|9\n", ">-\n  "),
    *("&a ", "*a ", "&a &a ", "!!python/object/apply:os.system ", "!!python/name:os.system ", "!!set ", "!!binary "),
    *(
        "!<%0A> ",
        "!%E2%80%AE ",
        "!!int ",
        "!!float ",
        "!!null ",
        "!!timestamp ",
        "!!merge ",
        "! ",
        '"\\ud800"',
        '"\\x0"',
    ),
]


def _tokens(text: str, rng: random.Random) -> str:
    """Insert a token of YAML syntax."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(TOKENS) + text[at:]


def _lines(text: str, rng: random.Random) -> str:
    """Duplicate, shuffle, delete or indent lines, giving duplicate and misplaced keys."""
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.choice(lines)
    match rng.randrange(5):
        case 0:
            lines.insert(at, other)
        case 1:
            lines[at] = rng.choice(("\t", " ", "   ", "- ")) + lines[at]
        case 2:
            lines[at] = lines[at].strip()
        case 3:
            del lines[at]
        case _:
            rng.shuffle(lines)
    return "\n".join(lines)


VALUES = [
    *("", "~", "true", "no", "0", "-1", "3.7", "1e9", "1e999", ".nan", "-.inf", "0x1F", "0b", "010", "1:30", "1_000"),
    *("9" * 40, "9" * 5000, "-" + "9" * 99, "0x" + "f" * 4000, "1." + "0" * 500, "2020-01-01", "=", "<<", "''", '""'),
    *("[]", "{}", "[[]]", "[~]", "{a: b}", "{? [a] : b}", "{{a: b}: c}", "[1, [2, [3]]]", "{a: 1, a: 2}", "text", "*a"),
    *("x" * 3000, "'" + "x, " * 2000 + "'", '"\\U0001F426"', '"a\\nb"', "!!python/object:os.system {}", "{{}} {0} %s"),
]


def _values(text: str, rng: random.Random) -> str:
    """Replace the value of a key with one of any type."""
    places = list(re.finditer(r"(?<=: )[^\n,{}\[\]]+|(?<=- )[^\n]+", text))
    if not places:
        return f"{text}\ntop_k: {rng.choice(VALUES)}\n"
    place = rng.choice(places)
    return text[: place.start()] + rng.choice(VALUES) + text[place.end() :]


def _nesting(text: str, rng: random.Random) -> str:
    """Nest a value very deeply."""
    opened, closed = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("!x [", "]"), ("&a [", "]")))
    depth = rng.choice((2, 20, 60, 90, 120, 300, 2000))
    key = rng.choice(("title", "backbones", "examples", "limits", "top_k"))
    return f"{text}{key}:{rng.choice((' ', chr(10)))}{opened * depth}{closed * rng.choice((0, depth, depth + 1))}\n"


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x85",
    "é",
    [],
    {},
    [None],
    {"": 1},
]


def _tree(text: str, rng: random.Random) -> str:
    """Mutate the parsed values and serialize them again."""
    try:
        tree = yaml.safe_load(text)
    except Exception:  # PyYAML's loader may raise any exception
        return text
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    try:
        walk(tree)
        if places:
            node, key = rng.choice(places)
            other, other_key = rng.choice(places)
            node[key] = rng.choice(
                (rng.choice(ODD), [node[key]], {"backbone": node[key]}, other[other_key], str(node[key]))
            )
        return yaml.safe_dump(
            tree, allow_unicode=rng.random() < 0.5, default_flow_style=rng.choice((None, True, False))
        )
    except (yaml.YAMLError, RecursionError, ValueError):  # the tree may now contain itself
        return text


def _bulk(text: str, rng: random.Random) -> str:
    """Append a large amount of text."""
    return text + rng.choice(
        (
            "backbones: [" + "a, " * 400 + "]\n",
            "".join(f"key{number}: {number}\n" for number in range(200)),
            "# " + "x" * 20_000 + "\n",
            f"? {'k' * 3000}\n: 1\n",
            f"title: {'é' * 5000}\n",
            "\n" * 3000 + "top_k: no\n",
        )
    )


MUTATIONS = [_bytes, _tokens, _tokens, _lines, _values, _values, _nesting, _tree, _bulk]
