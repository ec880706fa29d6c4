"""How the number of users goes over time; each file is one shape, given to Locust beside the locustfile."""
