"""The production topology on one machine: a model server and the gateway as two processes, real digits through both."""
