"""A config with the longest names that timm has and that authors give, and with long labels."""

from pathlib import Path

from serving import ROOT

NAMES = (
    "hf-hub:timm/vit_large_patch14_reg4_dinov2.lvd142m",
    "mobilenetv3_large_100.miil_in21k_ft_in1k",
    "caformer_b36.sail_in22k_ft_in1k_384",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenklassifikator",
    "画像分類モデル大規模版第三世代高解像度深層畳み込みニューラルネットワーク",
    "The best backbone 🦜 of our laboratory, spring 2026, second try",
)
LABELLED = NAMES[3:]  # with labels of their own
LABELS = (
    "Staffordshire bullterrier, Staffordshire bull terrier",
    "black-and-tan_coonhound_of_North_America_at_dusk",
    "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",
    "大型ハイビスカス属植物の園芸品種群第十七号",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺🌺",
)


def write_config(folder: Path) -> Path:
    """Write the config and its labels to a folder; its default, resnet18, is unavailable without the Hub."""
    labels = [f"{LABELS[index % len(LABELS)]} {index}" for index in range(1000)]
    (folder / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    lines = ["title: Which of these backbones classifies my photographs best?", "engine: torch"]
    lines += [f"examples: {ROOT}/examples", "backbones:", "  - resnet18"]
    for name in NAMES:
        labels_entry = ", labels: labels.txt" if name in LABELLED else ""
        lines.append(f'  - {{name: "{name}", backbone: "local-dir:{ROOT}/bundled/efficientnet_lite0"{labels_entry}}}')
    (folder / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "config.yaml"
