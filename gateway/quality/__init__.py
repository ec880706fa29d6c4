"""How good each version is, by the labels that came back."""
