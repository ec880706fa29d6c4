"""Roll-outs: a plan per model says which version answers whom, and evidence how the plan goes on."""
