"""Quiet, ten times as much of a sudden, and quiet again: is the load shed, and does it recover?"""

from locust import LoadTestShape

QUIET, SPIKE = 8, 80
START, END, SECONDS = 20, 40, 60


class Spike(LoadTestShape):
    """One peak."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        now = self.get_run_time()
        users = SPIKE if START <= now < END else QUIET
        return (users, SPIKE) if now < SECONDS else None
