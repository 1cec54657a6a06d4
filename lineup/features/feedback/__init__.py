"""Feedback: images that users label on the page, for the owner to review, and to train on."""
