"""Which model a call is about, and whether its caller may know of it."""

from gateway.call import current_call
from gateway.catalog import Catalog, Model


def authorized(catalog: Catalog, name: str) -> Model:
    """The model called `name`, or the only one, for a caller who may predict with it: rights come before existence."""
    call = current_call.get()
    if name:
        call.principal.require("predict", name)
    model = catalog.model(name)
    if not name:
        call.principal.require("predict", model.name)
    call.model = model.name
    return model
