"""Lineup: one YAML file becomes an image-classification page for any timm or torchvision backbone."""
