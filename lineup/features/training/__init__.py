"""Classifiers for a user's own classes: heads on the features of backbones, from a folder of labelled images."""
