"""gateway.tallies"""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.tallies import Observations, Tallies

BUCKETS = (1, 2.5, 5)


def test_as_if_observed_one_by_one() -> None:
    """A scrape sees what was observed before it, bounds and what is beyond the last one included."""
    values = [0.5, 1.0, 1.25, 2.5, 5.0, 5.25, 99.0]
    registries = [CollectorRegistry(), CollectorRegistry()]
    tallies = Tallies(registries[0])
    gathered, plain = (
        Histogram("seconds", "Time.", ("model",), buckets=BUCKETS, registry=registry) for registry in registries
    )
    observations = Observations(gathered)
    tallies.add(observations.flush)
    observe = observations.of("digits")
    for value in values[:4]:
        observe(value)
        plain.labels("digits").observe(value)
    tallies.flush()
    for value in values[4:]:
        observe(value)
        plain.labels("digits").observe(value)
    texts = [generate_latest(registry).decode().split("seconds_created")[0] for registry in registries]
    assert texts[0] == texts[1]
    assert 'seconds_count{model="digits"} 7.0' in texts[0]
