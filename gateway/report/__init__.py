"""A page of how good versions were, by labels, and of two captures of requests beside each other.

By the figures of QualityService, and the measures and tests of the gateway's alarms; Evidently's own pages beside it
where that is installed.
"""
