"""Puts gRPC servicers and interceptors on a port; they do not know which transport carries them."""
