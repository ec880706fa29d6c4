"""Whether what a version is asked and answers is still distributed as on the data it was evaluated on."""
