"""The trainer: from labelled images to a SavedModel that tells whoever serves it how it wants to be used."""
