"""What visitors say of answers, kept as labelled images once the owner has accepted them."""
