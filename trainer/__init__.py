"""The trainer: from labelled images or a table to a SavedModel that tells whoever serves it how it wants to be used."""
